"""Draw the golden images: what must come out of the whole chain, whatever way a file lies in.

    python -m tests.golden.make_golden

They are drawn from the definition of the phantom, not from what fedmed makes of it; look at them: an F, an R and a G,
each upright.
"""

from __future__ import annotations

from tests.golden import letters


def main() -> None:
    for name, levels in letters.panels(letters.volume()).items():
        letters.save(f"volume-{name}", letters.grey(levels))
    for name, numbers in letters.panels(letters.labels()).items():
        letters.save(f"labels-{name}", 80 * numbers)
    letters.save("film", letters.grey(letters.film()))


if __name__ == "__main__":
    main()
