"""Token requests that share their beginnings."""

from hypothesis import strategies as st

from evoprompt.scoring.trie import TokenRequest

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(
    tuple
)  # three tokens only, so that prefixes are shared a lot
request_lists = st.lists(st.builds(TokenRequest, tokens, tokens), min_size=1, max_size=25)
