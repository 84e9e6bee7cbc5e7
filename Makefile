# make demo   train, compress, pack and run two networks on real data (no download)
# make test   everything that must hold before a change lands
# make lowest the tests that need no torch, with the oldest versions that pyproject.toml allows
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow lowest fuzz check clean

demo: .venv/ready
	$(BIN)/python examples/demo.py

test: .venv/ready check
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

slow: .venv/ready
	$(BIN)/python -m pytest -m slow

lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest -m "not slow" -n auto --dist loadfile --doctest-ignore-import-errors tests

FUZZ_SECONDS ?= 600

fuzz: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python tests/fuzz/fuzz.py $(FUZZ_SECONDS)

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/ready: pyproject.toml constraints.txt build_coder.py src/sepnet/codecs/adaptive/adaptive.c
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,digits,parallel,channels]' \
		hypothesis import-linter mypy pytest pytest-xdist ruff
	touch $@

.venv-lowest/ready: pyproject.toml build_coder.py
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct -e '.[digits,onnx]'
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest hypothesis pytest pytest-xdist
	touch $@

clean:
	rm -rf .venv .venv-lowest demo
