{# Indices of broadcast inputs. `coordinates` cuts the flat index `i` into c0, c1, … over `rank` axes, `at` is the place of
   an input's element there. The axes are those that are left when neighbours with a common stride are merged. #}
{% macro dims(rank) %}
{% for axis in range(1, rank) %}
    dim{{ axis }}: u32,
{% endfor %}
{% endmacro %}
{% macro strides(input, rank) %}
{% for axis in range(rank) %}
    stride{{ input }}_{{ axis }}: u32,
{% endfor %}
{% endmacro %}
{% macro coordinates(rank) %}
    var rest = i;
{% for axis in range(1, rank)|reverse %}
    let c{{ axis }} = rest % params.dim{{ axis }};
    rest /= params.dim{{ axis }};
{% endfor %}
    let c0 = rest;
{% endmacro %}
{% macro at(input, rank) -%}
{% for axis in range(rank) %}{{ " + " if axis > 0 }}c{{ axis }} * params.stride{{ input }}_{{ axis }}{% endfor %}
{%- endmacro %}
