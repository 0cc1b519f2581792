{# How threads that stand beside each other reduce what each of them has, without assuming how many of them form a subgroup. Partial
   results meet in workgroup memory; with `subgroups`, only those that lie further apart than a subgroup reaches. Either way they are
   joined in the same order, a tree over halves, so that results are the same on every device. #}

{# The arguments of an entry point that say which thread it is. With subgroups the number follows from the place in them, since
   nothing says how a device deals out its own numbers to subgroups. #}
{% macro thread_arguments(subgroups) -%}
{% if subgroups %}
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_size) subgroup_size: u32,
{%- else %}
    @builtin(local_invocation_index) thread: u32,
{%- endif %}
{%- endmacro %}

{# The first lines of such an entry point. #}
{% macro thread_number(subgroups) -%}
{% if subgroups %}
    let thread = subgroup * subgroup_size + place;
    subgroup_threads = subgroup_size;
{%- endif %}
{%- endmacro %}

{# What the functions below need. #}
{% macro declare(subgroups) -%}
{% if subgroups %}
// Threads of a subgroup: a power of two, at least {{ SUBGROUP }}.
var<private> subgroup_threads: u32;
{%- endif %}
{%- endmacro %}

{# Workgroup memory of a reduction of `threads` by `lanes`, if it needs some. #}
{% macro memory(subgroups, cells, type, threads, lanes) -%}
{% if not subgroups or lanes > SUBGROUP %}
var<workgroup> {{ cells }}: array<{{ type }}, {{ threads }}>;
{%- endif %}
{%- endmacro %}

{# A function of a thread's own value and its number that joins the values of each {{ "`lanes`" }} neighbouring threads, a power of two above 1. All
   threads of the workgroup call it, and get the result of theirs. `moved` gives a thread the value of the one whose number differs
   in these bits. With `again`, it may be called again, or other functions that use the same memory. #}
{% macro fold(subgroups, name, type, cells, lanes, join, moved, again) %}
fn {{ name }}(value: {{ type }}, thread: u32) -> {{ type }} {
{% if not subgroups %}
    let lane = thread % {{ lanes }}u;
{% if again %}
    // Until here threads may still be reading the result before.
    workgroupBarrier();
{% endif %}
    {{ cells }}[thread] = value;
    workgroupBarrier();
    // A loop, since drivers take long over many barriers in a row.
    for (var half = {{ lanes // 2 }}u; half > 0u; half /= 2u) {
        if (lane < half) {
            {{ cells }}[thread] = {{ join }}({{ cells }}[thread], {{ cells }}[thread + half]);
        }
        workgroupBarrier();
    }
    return {{ cells }}[thread - lane];
{% else %}
    var whole = value;
    var half = {{ lanes // 2 }}u;
{% if lanes > SUBGROUP %}
    if (half >= subgroup_threads) {
        let lane = thread % {{ lanes }}u;
{% if again %}
        workgroupBarrier();
{% endif %}
        {{ cells }}[thread] = value;
        workgroupBarrier();
        for (; half > subgroup_threads; half /= 2u) {
            if (lane < half) {
                {{ cells }}[thread] = {{ join }}({{ cells }}[thread], {{ cells }}[thread + half]);
            }
            workgroupBarrier();
        }
        // Every subgroup takes what is left, so that all of them have the result.
        let first = thread - lane + lane % half;
        whole = {{ join }}({{ cells }}[first], {{ cells }}[first + half]);
        half /= 2u;
    }
{% endif %}
    for (; half > 0u; half /= 2u) {
        whole = {{ join }}(whole, {{ moved }}(whole, half));
    }
    return whole;
{% endif %}
}
{% endmacro %}
