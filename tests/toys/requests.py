"""Token requests that share their beginnings."""

from hypothesis import strategies as st

from evoprompt.scoring.trie import TokenRequest

# three tokens only, so that prefixes are shared a lot
tokens = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple)
request_lists = st.lists(st.builds(TokenRequest, tokens, tokens), min_size=1, max_size=25)
