"""How often each rule of evidence errs where nothing is there: 2,000 simulated runs a line."""

import numpy as np
import pytest
import scipy.stats

from tools.sequential import EProcess, alpha_share, confidence_sequence
from tools.statistics import bootstrap_t_interval, mean_interval, sign_flip_p, tost_p

RUNS, PROMPTS, ALPHA = 2000, 10, 0.05
ALLOWED = 0.06
MORE = {8: 4 * RUNS, 12: 4 * RUNS, 20: RUNS}
"""An exact test errs 5 % of the time; 8,000 runs put 6 % four standard errors away, 2,000 only two."""


def gaussian(generator, templates, runs=RUNS):
    """Prompt differences of variance 1, half of it between templates."""
    shared = generator.normal(0, 1, (runs, templates, 1))
    return (shared + generator.normal(0, 1, (runs, templates, PROMPTS))) / np.sqrt(2)


def gaussian_unequal(generator, templates, runs=RUNS):
    """The same, with template variances that differ a hundredfold."""
    return gaussian(generator, templates, runs) * np.geomspace(0.3, 3, templates)[:, None]


def binary(generator, templates, runs=RUNS):
    """Two arms of outcomes 0 or 1 whose rates vary over templates as Beta(1/2, 1/2): ICC 1/2."""
    arms = generator.beta(0.5, 0.5, (2, runs, templates, 1))
    outcomes = generator.random((2, runs, templates, PROMPTS)) < arms
    return outcomes[0].astype(float) - outcomes[1]


def binary_unequal(generator, templates, runs=RUNS):
    """The same, but every second template hardly varies: both arms near 1/2, or both rare."""
    spread = np.where(np.arange(templates) % 2, 0.5, 20.0)[:, None]
    arms = generator.beta(spread, 3 * spread, (2, runs, templates, 1))
    outcomes = generator.random((2, runs, templates, PROMPTS)) < arms
    return outcomes[0].astype(float) - outcomes[1]


OUTCOMES = [gaussian, gaussian_unequal, binary, binary_unequal]


def share(flags):
    return float(np.mean(list(flags)))


def test_the_simulated_outcomes_have_an_icc_of_one_half():
    for outcome in (gaussian, binary):
        rows = outcome(np.random.default_rng(0), 20)
        between = rows.mean(axis=2).var(ddof=0)
        within = rows.var(axis=2, ddof=1).mean()
        between -= within / PROMPTS
        assert between / (between + within) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("templates", [8, 12, 20])
def test_the_registered_test_keeps_its_level(outcome, templates):
    generator = np.random.default_rng(templates)
    rows = outcome(generator, templates, MORE[templates]).mean(axis=2).tolist()
    two_sided = share(sign_flip_p(row, seed=k) <= ALPHA for k, row in enumerate(rows))
    greater = share(sign_flip_p(row, "greater", seed=k) <= ALPHA for k, row in enumerate(rows))
    assert 0.02 < two_sided <= ALLOWED
    assert 0.02 < greater <= ALLOWED


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("templates", [8, 12, 20])
def test_prompts_taken_as_independent_do_not(outcome, templates):
    rows = outcome(np.random.default_rng(templates), templates).reshape(RUNS, -1)
    assert share(scipy.stats.ttest_1samp(rows, 0, axis=1).pvalue <= ALPHA) > 0.15


@pytest.mark.parametrize("outcome", [binary, binary_unequal])
@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_peeking_at_the_e_process_keeps_its_level(outcome, alternative):
    rows = outcome(np.random.default_rng(1), 40).mean(axis=2)
    rejected = 0
    for row in rows.tolist():
        process = EProcess(alternative)
        for difference in row:
            process.add(difference)
            if process.rejects(ALPHA):
                rejected += 1
                break
    assert rejected / RUNS <= ALLOWED


def test_peeking_at_the_registered_test_does_not():
    rows = binary(np.random.default_rng(1), 40).mean(axis=2)
    rejected = np.zeros(RUNS, dtype=bool)
    for n in range(6, 41):
        seen = rows[:, :n]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = seen.mean(axis=1) / (seen.std(axis=1, ddof=1) / np.sqrt(n))
        rejected |= np.abs(ratio) > scipy.stats.t.isf(ALPHA / 2, n - 1)
    assert rejected.mean() > 0.15


def test_the_e_process_finds_an_effect_that_is_there():
    generator = np.random.default_rng(2)
    rows = np.clip(generator.normal(0.3, 0.4, (500, 60)), -1, 1).tolist()
    processes: list[bool] = []
    for row in rows:
        process = EProcess()
        for difference in row:
            process.add(difference)
        processes.append(process.rejects(ALPHA))
    assert share(processes) > 0.9
    for row, rejected in zip(rows[:8], processes[:8], strict=True):
        assert (confidence_sequence(row)[0] > 0) == rejected


@pytest.mark.parametrize("templates", [8, 12, 20])
def test_equivalence_at_the_margin_keeps_its_level(templates):
    generator = np.random.default_rng(templates)
    found = {}
    for outcome in (gaussian, gaussian_unequal):
        rows = outcome(generator, templates).mean(axis=2)
        margin = 0.9
        found[outcome.__name__] = share(
            tost_p(row, margin) <= ALPHA for row in (rows + margin).tolist()
        )
    arms = generator.beta(
        np.array([30.0, 25.0])[:, None, None],
        np.array([20.0, 25.0])[:, None, None],
        (2, RUNS, templates),
    )
    rates = generator.binomial(30, arms) / 30
    rows = (rates[0] - rates[1]).tolist()
    found["rates"] = share(tost_p(row, 0.1, bound=1) <= ALPHA for row in rows)
    assert max(found.values()) <= ALLOWED
    assert found["gaussian"] > 0.02
    assert found["rates"] > 0.005


def test_equivalence_of_independent_prompts_does_not():
    rows = gaussian(np.random.default_rng(3), 12).reshape(RUNS, -1) + 0.3
    low = rows.mean(axis=1) + 0.3, rows.mean(axis=1) - 0.3
    error = rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])
    critical = scipy.stats.t.isf(ALPHA, rows.shape[1] - 1)
    assert share((low[0] / error > critical) & (low[1] / error < -critical)) > 0.15


def test_the_limits_that_the_docstrings_own_up_to():
    generator = np.random.default_rng(9)
    arm = generator.binomial(PROMPTS, generator.beta(0.1, 0.9, (RUNS, 12)))
    skewed = ((arm - generator.binomial(PROMPTS, 0.1, (RUNS, 12))) / PROMPTS).tolist()
    assert 0.08 < share(sign_flip_p(row, "less") <= ALPHA for row in skewed) < 0.15
    assert share(sign_flip_p(row, "greater") <= ALPHA for row in skewed) < 0.02

    hit = generator.random((RUNS, 30)) < 0.1
    arm = generator.binomial(PROMPTS, np.where(hit, 0.95, 0.05))
    rare = (arm - generator.binomial(PROMPTS, 0.04, (RUNS, 30))) / PROMPTS
    assert 0.2 < share(tost_p(row, 0.1, bound=1) <= ALPHA for row in rare[:, :12].tolist()) < 0.35
    assert 0.08 < share(tost_p(row, 0.1, bound=1) <= ALPHA for row in rare.tolist()) < 0.2

    def equivalent(row):
        below, above = EProcess("less", null=0.1), EProcess("greater", null=-0.1)
        for difference in row:
            below.add(difference)
            above.add(difference)
        return below.rejects(ALPHA) and above.rejects(ALPHA)

    many = np.concatenate([rare[:1000], rare[1000:]], axis=1).tolist()
    assert share(map(equivalent, many)) <= ALLOWED
    assert equivalent([0.0] * 60)


@pytest.mark.parametrize("outcome", [gaussian, binary])
def test_stopping_at_the_first_success_keeps_its_level(outcome):
    maximum, templates = 8, 12
    rows = outcome(np.random.default_rng(4), templates, maximum * RUNS).mean(axis=2)
    runs = rows.reshape(RUNS, maximum, templates).tolist()
    best = [min(sign_flip_p(row) for row in run) for run in runs]
    rate = share(p <= alpha_share(ALPHA, maximum) for p in best)
    assert 0.02 < rate <= ALLOWED
    assert share(p <= ALPHA for p in best) > 0.15


def test_intervals_hold_the_mean_of_skewed_clusters_about_as_often_as_they_say():
    rows = np.random.default_rng(6).gamma(2.0, 0.5, (400, 12)).tolist()
    t = share(low <= 1 <= high for low, high in map(mean_interval, rows))
    bootstrap = [bootstrap_t_interval(row, seed=k, resamples=199) for k, row in enumerate(rows)]
    assert t > 0.89
    assert share(low <= 1 <= high for low, high in bootstrap) > 0.92
