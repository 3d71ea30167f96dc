"""The one gate through which text that others wrote reaches a terminal, HTML, JSON or a generated document.

`foreign` makes any text harmless and exact, `documents` puts it into JSON and YAML, `tables` draws records,
`console` is what everything is printed on.
"""
