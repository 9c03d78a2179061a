"""Tables that several commands share: shares of a model, metrics of sites, the state of a round, files not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.cli.screen import Screen, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedmed.coordinator.aggregate import Aggregated
    from fedmed.coordinator.evaluate import PooledTable
    from fedmed.coordinator.status import Status as CoordinatorStatus
    from fedmed.coordinator.unmask import Asked
    from fedmed.coordinator.validation import Watched
    from fedmed.exchange.bodies import Metric, UpdateFacts
    from fedmed.exchange.bodies_privacy import CentralBlock, PrivacyBlock
    from fedmed.exchange.bodies_reports import Score
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.lineage import Best
    from fedmed.reporting.hurt import Hurt
    from fedmed.site.evaluate import Evaluated
    from fedmed.site.status import Status as SiteStatus
    from fedmed.site.train import Trained
    from fedmed.site.tune import Tuned
    from fedmed.site.unmask import Answered

QUIET = ("accepted", "duplicate", "not-for-me", "superseded")


def warn(out: Screen, arrivals: Sequence[Arrival]) -> None:
    """Files in the inbox that were not used, each with its code."""
    for arrival in arrivals:
        verdict = arrival.verdict
        if verdict.outcome not in QUIET:
            out.say(f"{arrival.path.name}: {verdict.outcome.value} {verdict.code} {verdict.message}".rstrip())


def lines(out: Screen, told: Sequence[str]) -> None:
    for line in told:
        out.say(line)


def steps(facts: UpdateFacts) -> str:
    """What was trained. The loss of a training with differential privacy has no noise, and stays in the local log."""
    loss = "in logs/local.log" if facts.train_loss is None else number(facts.train_loss)
    return f"{facts.num_steps} steps on {facts.num_cases} cases, loss {loss}"


def received(facts: UpdateFacts, *, is_masked: bool) -> str:
    """How good the model is that this round began with."""
    if is_masked:
        return "the update is masked and tells none of that; the model received is scored by fedmed evaluate alone"
    scores = ", ".join(f"{row.metric} {number(row.mean)}" for row in facts.base_metrics)
    return f"the model received, on this site's validation cases: {scores or '-'}"


def shares(out: Screen, made: Aggregated) -> None:
    out.say(
        f"model r{made.round:04d} {'made' if made.is_new else 'was made before'}{', the last' if made.last else ''}"
    )
    if made.round == 0:
        out.say("all sites have approved this federation; nobody has trained yet")
        return
    parents = {parent.site: parent for parent in made.parents}
    rows = [
        [
            ack.site,
            ack.status,
            str(parents[ack.site].weight or "-") if ack.site in parents else "-",
            number(parents[ack.site].share) if ack.site in parents else "-",
            ack.reason,
        ]
        for ack in made.acks
    ]
    out.table("what each site counted", ["site", "status", "weight ", "share ", "reason"], rows)
    if not made.parents:
        out.say("no update counts: the weights are those of the model before")
    if made.told:
        out.say(made.told)
    central(out, made.central)
    patients(out, made.privacy)
    if made.watched and made.watched.sites:
        _watched(out, made.watched)
    if made.pooled:
        pooled_ = ", ".join(f"{row.metric} {number(row.mean)}" for row in made.pooled)
        out.say(f"the model before, on the sites' validation cases: {pooled_}")
    if made.stopped:
        out.say(made.stopped)
    if made.last:
        best(out, made.best)


def central(out: Screen, found: CentralBlock | None) -> None:
    """What noise at the coordinator promises, and to whom."""
    if found is not None:
        clip = f"the next updates are cut to {number(found.clip_norm)}"
        noise = f"noise of {number(found.noise_multiplier)} clip norms, {clip}"
        out.say(
            f"epsilon {found.epsilon} at delta {found.delta} so far, of a whole site and the weights alone: {noise}"
        )
        out.say("the coordinator sees every update; metrics and numbers of cases carry no noise")


def patients(out: Screen, found: Mapping[str, PrivacyBlock]) -> None:
    """What the patients of each site have spent in this federation, by that site's word."""
    if found:
        told = ", ".join(f"{site} {block.epsilon} at delta {block.delta}" for site, block in sorted(found.items()))
        out.say(f"epsilon of a patient so far, of the weights alone: {told}")
        out.say("metrics and numbers of cases carry no noise")


def _watched(out: Screen, found: Watched) -> None:
    rows = []
    for each in found.sites:
        best = "-" if each.best is None else f"{each.best:.3f} (r{each.best_round or 0:04d})"
        value = "-" if each.value is None else f"{each.value:.3f}"
        rows.append([_marked(each.site, found.worst), str(each.n), value, best])
    title = f"model r{found.round:04d} on each site's validation cases"
    out.table(title, ["site", "n ", f"{found.metric} ", "best before "], rows)
    hurt(out, found.hurt)


def hurt(out: Screen, found: Sequence[Hurt]) -> None:
    """Who is worse off, each in a line of its own."""
    for each in found:
        out.say(f"warning: {each}")


def _marked(site: str, worst: str) -> str:
    return f"{site} (worst)" if site == worst else site


def pooled_fingerprints(out: Screen, made: Aggregated) -> None:
    """Which fingerprints count, and the numbers that came of them."""
    out.table("fingerprints", ["site", "status", "why"], [[ack.site, ack.status, ack.reason] for ack in made.acks])
    out.table("every case goes through", ["what", "numbers"], list(made.numbers))
    out.say("model r0000 made, and version 2 of the federation: the approvals of the first hold")


def report(out: Screen, found: Evaluated) -> None:
    opened = f", opening {found.body.opening} of the test fold" if found.body.opening else ""
    title = f"model r{found.round:04d} on {found.body.told.num_cases} {_fold(found.split)} cases{opened}"
    scores = found.body.told.scores
    if all(row.sd is None and row.histogram is None and not row.missed + row.spurious + row.empty for row in scores):
        rows = [[_model(row), row.label, row.metric, str(row.n), number(row.mean)] for row in scores]
        out.table(title, ["model", "label", "metric", "n ", "value "], rows)  # figures of the fold, not of its cases
        return
    rows = [
        [_model(row), row.label, *_numbers(row), str(row.missed), str(row.spurious), str(row.empty)] for row in scores
    ]
    out.table(title, ["model", "label", "metric", "n ", "mean ", "sd ", "missed ", "spurious ", "empty "], rows)


def tuned(out: Screen, found: Tuned) -> None:
    """Both models on the validation cases, and which one this hospital keeps as its own."""
    rows = [
        [name, *_numbers(row)] for name, each in (("global", found.received), ("tuned", found.tuned)) for row in each
    ]
    what = "tuned" if found.is_new else "was tuned before"
    title = f"model r{found.round:04d} {what} in {found.num_steps} steps, on validation cases"
    out.table(title, ["model", "metric", "n ", "mean ", "sd "], rows)
    out.say(kept(found))


def kept(found: Tuned) -> str:
    if found.is_kept:
        return f"the personal model is the tuned one, kept: validation says {found.why}"
    return f"the personal model is the global one; the tuned one is not kept: validation says {found.why}"


def pooled(out: Screen, table: PooledTable) -> None:
    rows = []
    for site in table.reports:
        name = _marked(site.site, table.worst)
        rows += [[name, _model(row), row.label, *_numbers(row)] for row in site.body.told.scores if row.label == "all"]
    for model, metrics in table.pooled.items():
        rows += [
            ["pooled", "local-only" if model == "alone" else model, row.label, *_numbers(row)]
            for row in metrics
            if row.label == "all" or row.metric.endswith("_binned")
        ]
    out.table(
        f"model r{table.round:04d}, {_fold(table.split)} cases",
        ["site", "model", "label", "metric", "n ", "mean ", "sd "],
        rows,
    )
    hurt(out, table.hurt)
    lines(out, table.promises)
    if table.missing:
        out.say(f"no report from {', '.join(table.missing)}")


def asked(found: Asked) -> str:
    """Who is in the sum of a masked round, and who has answered."""
    sites = ", ".join(found.sites)
    answers = f"{len(found.sites) - len(found.missing)} of {found.needed} answers that open it are in"
    what = "decided" if found.is_new else "was decided before"
    return f"{named(found)}: {what}: in the sum are {sites}; {answers}"


def named(found: Asked | Answered | Trained) -> str:
    """What people call a round that was begun so often."""
    return f"round {found.round}, attempt {found.attempt}" if found.attempt > 1 else f"round {found.round}"


def trained(found: Trained) -> str:
    """Whether this command did it."""
    if not found.is_trained:
        return "was trained before, and is masked again"
    return "trained" if found.is_new else "was trained before"


def answered(found: Answered) -> list[str]:
    """What a site helped to open, and in a line of its own what the operator should know."""
    what = "answered" if found.is_new else "was answered before"
    warning = [f"warning: {found.warning}"] if found.warning else []
    return [f"{named(found)}: {what}: shares for the sum of {', '.join(found.sites)}", *warning]


def coordinator_status(out: Screen, found: CoordinatorStatus) -> None:
    is_running = bool(found.fingerprint)
    state = f"waiting for {found.awaits}" if is_running and found.round < 0 else _round(found)
    out.say(f"{found.title}: {state}")
    if is_running:
        out.say(f"federation {found.fingerprint}")
    if found.is_over:  # no update answers the last model
        told = [[each.site, "here" if each.site in found.reported else "missing"] for each in found.sites]
        out.table("sites", ["site", "report on the test fold"], told)
    else:
        rows = [[each.site, each.status, str(each.num_cases or "-"), each.reason] for each in found.sites]
        out.table("sites", ["site", "update", "cases ", "why"], rows)
    if found.deadline:
        out.say(f"deadline {found.deadline}: from then on it closes without who is missing, where enough are in")
    central(out, found.central)
    patients(out, {each.site: each.privacy for each in found.sites if each.privacy is not None})
    best(out, found.best)
    _rotating(out, found)
    _waiting(out, found.waiting)


def site_status(out: Screen, found: SiteStatus) -> None:
    out.say(f"{found.name}: {found.title or 'no federation approved'}")
    if found.fingerprint:
        out.say(f"federation {found.fingerprint}")
        out.say(_round(found))
        cases = "partitioned" if found.has_cases else "not partitioned"
        is_asked = found.round >= 0 and not found.is_over
        update = f"; update of this round: {'sealed' if found.update_sent else 'not yet'}" if is_asked else ""
        out.say(f"cases: {cases}{update}")
    if found.lap:
        out.say(f"one site after another in this round: {', '.join(found.lap)}")
    if found.approved:
        out.say(f"approved, as the newest model shows: {', '.join(found.approved)}")
    if found.unpinned:
        out.say(f"not confirmed by phone (fedmed keys pin SITE): {', '.join(found.unpinned)}")
    _rotating(out, found)
    if found.ack:
        out.say(f"the coordinator says of the last {'update' if found.round else 'fingerprint'}: {found.ack}")
    _waiting(out, found.waiting)


def _rotating(out: Screen, found: CoordinatorStatus | SiteStatus) -> None:
    if found.revoked:
        out.say(f"key revoked: {', '.join(found.revoked)}")
    if found.refusal:
        out.say(f"not possible now: {found.refusal}")
    if found.rotating:
        out.say(f"a new key, from the next model on: {', '.join(found.rotating)}")


def fingerprint(out: Screen, rows: Sequence[tuple[str, str]]) -> None:
    out.table("the fingerprint of this hospital's training cases, which leaves it", ["what", "numbers"], list(rows))


def _waiting(out: Screen, waiting: Sequence[Arrival]) -> None:
    for arrival in waiting:
        verdict = arrival.verdict
        out.say(f"in the inbox: {arrival.path.name}: {verdict.outcome.value} {verdict.code} {verdict.message}".rstrip())


def _round(found: CoordinatorStatus | SiteStatus) -> str:
    if found.round < 0:
        return "not started" if found.rounds else "no model yet"
    early = ", stopped early" if found.is_over and found.round < found.rounds else ""
    attempt = f", attempt {found.attempt}" if found.attempt > 1 and not found.is_over else ""
    return f"round {found.round} of {found.rounds}{attempt}" + (f"{early}, the last model" if found.is_over else "")


def best(out: Screen, found: Best | None) -> None:
    if found is not None:
        value = f"{found.metric} {found.value:.3f}"
        out.say(f"best on the sites' validation cases so far: model r{found.round:04d} with {value}, in {found.file}")


def _fold(split: str) -> str:
    """The word that `--split` takes."""
    return "test" if split == "testing" else split


def _model(row: Score) -> str:
    return "local-only" if row.model == "alone" else row.model


def _numbers(row: Metric) -> list[str]:
    return [row.metric, str(row.n), number(row.mean), number(row.sd)]
