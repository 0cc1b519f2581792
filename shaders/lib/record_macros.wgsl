{# Records in buffers of numbers: the place of each field is that of ops/record.rs. #}
{% macro read_record(buffer, at) %}
Record(
{% for field in [MAX, SQUARES, MAGNITUDES, SUM, ZEROS, NON_FINITE, WEIGHT_SQUARES, STEP_SQUARES] %}
        {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ field }}u],
{% endfor %}
    )
{%- endmacro %}
{% macro write_record(buffer, at, record) %}
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ MAX }}u] = {{ record }}.top;
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ SQUARES }}u] = {{ record }}.squares;
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ MAGNITUDES }}u] = {{ record }}.magnitudes;
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ SUM }}u] = {{ record }}.sum;
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ ZEROS }}u] = {{ record }}.zeros;
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ NON_FINITE }}u] = {{ record }}.non_finite;
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ WEIGHT_SQUARES }}u] = {{ record }}.weight_squares;
    {{ buffer }}[{{ at }} * {{ RECORD }}u + {{ STEP_SQUARES }}u] = {{ record }}.step_squares;
{% endmacro %}
