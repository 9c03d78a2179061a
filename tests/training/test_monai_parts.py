import sys

import pytest

from fedmed.training import monai_parts


def test_what_monai_may_do_without_is_hidden_and_comes_back(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    import colorsys  # noqa: PLC0415 - imported before: it stays what it is

    with monai_parts.without(("wave", "colorsys")):
        with pytest.raises(ImportError):
            import wave  # noqa: PLC0415
        import colorsys  # noqa: PLC0415
    import wave  # noqa: PLC0415

    assert wave.open
    assert colorsys.rgb_to_hsv


def test_hidden_packages_come_back_behind_an_error(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(KeyError), monai_parts.without(("wave",)):
        raise KeyError
    assert "wave" not in sys.modules
