import pandas as pd
from certificate_rows import BETTER, PLAIN, A, B, run_of

from raysmooth.pipeline.analysis.columns import by_run


def test_each_run_gets_its_rows_in_their_order_however_they_lie():
    together = pd.concat([run_of(B, BETTER), run_of(A, PLAIN)], ignore_index=True)
    mixed = together.iloc[[0, 8, 1, 9, 10, 2, 3, 11, 12, 13, 4, 5, 14, 6, 15, 7]]
    for rows in (together, mixed):
        parts = by_run(rows)
        assert list(parts) == [B, A]
        assert parts[B]["radius"].tolist() == [radius for _, radius in BETTER]
        assert parts[A]["image_id"].tolist() == [50 * image for image in range(8)]
        assert set(parts[A]["run_id"]) == {A}
