"""Sizes of memory as people write them."""

import re

import click

LEAST_BYTES = 64 << 20


class Size(click.ParamType[int]):
    """A number of bytes: 800MB, 4GB, 1.5GiB."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes; fail where the words are no size, or too small to work with."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", value.strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is no size; write 800MB or 4GB.", param, ctx)
        base = 1024 if found[3] else 1000
        size = int(float(found[1]) * base ** " kmgt".index(found[2].lower() or " "))
        if size < LEAST_BYTES:
            self.fail(f"{value} is too little to work with; give at least {LEAST_BYTES // 2**20}MiB.", param, ctx)
        return size
