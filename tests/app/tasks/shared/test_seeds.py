"""Seeds of sampling."""

from app.tasks.shared.seeds import derive_seed


def test_a_seed_depends_on_the_seed_and_on_the_content() -> None:
    seeds = {derive_seed(seed, content) for seed in (0, 1, -(2**63)) for content in (b"", b"a", b"1 ")}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, b"a") == derive_seed(1, b"a")


def test_without_a_seed_it_is_another_one_each_time() -> None:
    assert derive_seed(None, b"a") != derive_seed(None, b"a")
