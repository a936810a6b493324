"""TEMPORARY: tests of what is being moved to Setting, Timing and Result; whoever has moved one takes it out."""

collect_ignore = [
    "evaluation/test_episodes.py",
    "evaluation/test_feature_ages.py",
    "evaluation/test_run_folder.py",
    "evaluation/test_setting.py",
    "recording/test_perfetto.py",
    "reporting",
    "test_agree.py",
    "test_bench.py",
    "test_card.py",
    "test_measure.py",
    "test_recommend.py",
    "test_report.py",
    "test_run.py",
    "test_sabotage.py",
    "test_sweep.py",
]
