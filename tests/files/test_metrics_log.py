from cgat_jax.files.metrics_log import MetricsLog


def test_only_whole_lines_of_the_log_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    for step in (2, 4, 6):
        log.append({"step": step, "loss": step / 10})
    whole = path.read_text().splitlines(keepends=True)
    junk = ["\n", "null\n", "[]\n", '{"step": null}\n', '{"a":' * 50_000 + "\n", "{"]
    edited = whole[1].replace("0.4", "0.5")
    path.write_text(
        "".join([whole[0], edited, whole[1], *junk]) + "\udc80", "utf-8", "replace"
    )
    MetricsLog(path, 4)
    assert path.read_text() == whole[0] + whole[1]


def test_metrics_without_a_check_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2, "loss": 0.1}\n')
    MetricsLog(path, 2)
    assert path.read_text() == '{"step": 2, "loss": 0.1}\n'
