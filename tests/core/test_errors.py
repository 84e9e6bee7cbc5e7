"""What errors quote of other libraries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sepnet.core.errors import brief


@given(st.lists(st.sampled_from(["a", "Expected:", "32\n", "w" * 299, "w" * 400]), max_size=60))
def test_brief_is_one_line_cut_between_words(words: list[str]) -> None:
    whole = " ".join(" ".join(words).split())
    found = brief(" ".join(words))
    assert len(found) <= 300
    if found != whole:
        head = found.removesuffix(" …")
        assert len(whole) > 300 and whole.startswith(head)
        assert whole[len(head)] == " " or " " not in head
