"""What a notebook uses: `xal.query`, `xal.Learner`, `xal.run`, `xal.open_run`, `xal.explain`."""
