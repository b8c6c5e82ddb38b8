"""The rows of a run's images: each image gets one, a conclusion or an error."""

from typing import Any

from raysmooth.pipeline.certification.certificate import Certificate
from raysmooth.pipeline.drawing.draw_store import CountStore
from raysmooth.pipeline.drawing.max_errors import refuse_many
from raysmooth.pipeline.drawing.tally import Tally
from raysmooth.pipeline.runs.procedures import Whose
from raysmooth.pipeline.runs.run import Run


class ImageRows:
    """Makes the rows of this session. `finished` counts them; `concluded_draws` is the draws of those without error.

    Error rows are held back in `errors` until `write_errors`: if the run stops before, their images are tried again by
    the next session, since the cause (a disk gone for a minute, a faulty GPU) may be gone by then.
    """

    def __init__(self, run: Run, store: CountStore) -> None:
        self._run, self._store = run, store
        self.finished = 0
        self.concluded_draws = 0
        self.errors: list[dict[str, Any]] = []

    def conclude(self, image_id: int, tally: Tally) -> None:
        """The row of an image whose last round is complete: an error if any of its draws were invalid."""
        if tally.invalid:
            what = "no valid answer (logits NaN or infinite, or a label outside the classes)"
            self.fail(image_id, tally, f"{what} in {tally.invalid} of {sum(tally.draws.values())} draws")
            return
        concluded, facts = self._run.rule_of(image_id).conclude(tally.counts), self._run.facts_of(image_id)
        label = self._run.label_of(tally.image, tally.label)
        rests_on, top_k = self._run.top_k_of(image_id), None
        if rests_on is not None and isinstance(concluded, Certificate):
            top_k = rests_on.certify(tally.counts, concluded, label)
        row = self._run.procedure.finished_row(
            facts, image_id, label, tally.counts, concluded, tally.seconds, self._whose(tally), top_k
        )
        self._store.add_row(row)
        self.finished += 1
        self.concluded_draws += row["draws"]

    def fail(self, image_id: int, tally: Tally, reason: str) -> None:
        """An error row; raises RaysmoothError if there are more of them than the run may have."""
        procedure, facts, whose = self._run.procedure, self._run.facts_of(image_id), self._whose(tally)
        label = self._run.label_of(tally.image, tally.label)
        self.errors.append(procedure.error_row(facts, image_id, label, reason, tally.seconds, whose))
        self._store.finished.add(image_id)
        self.finished += 1
        refuse_many(self.errors, self._run.settings.max_errors)

    def _whose(self, tally: Tally) -> Whose:
        return Whose(tally.file, self._run.names)

    def write_errors(self) -> None:
        for row in self.errors:
            self._store.add_row(row)
