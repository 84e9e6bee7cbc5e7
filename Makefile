# make demo   train, compress, pack and run two networks on real data (no download)
# make test   everything that must hold before a change lands
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow fuzz check clean

demo: .venv/ready
	$(BIN)/python examples/demo.py

test: .venv/ready check
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

slow: .venv/ready
	$(BIN)/python -m pytest -m slow

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

clean:
	rm -rf .venv demo
