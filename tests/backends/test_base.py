"""What workers must have in common."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evoprompt.backends.base import ALIKE, ModelInfo, agreed
from evoprompt.errors import UserError

INFO = ModelInfo(256, "float32", "packed", "exact", 1, "", "cpu", 64, "one thread")


def test_workers_that_are_alike_tell_what_each_tells():
    assert agreed([INFO, replace(INFO, reason="within 1e-6")]) == INFO


@pytest.mark.parametrize("name", ALIKE)
def test_a_worker_that_would_score_otherwise_is_refused_by_its_number(name: str):
    other = replace(INFO, **{name: "other" if isinstance(getattr(INFO, name), str) else 32})
    with pytest.raises(UserError, match=rf"worker 3 of 3 .* its {name} is (other|32) and not"):
        agreed([INFO, INFO, other])
