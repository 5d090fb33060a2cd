# What each target does is in ops/, which needs Python 3.9 or newer and nothing else.
PYTHON ?= python3
OPS = @$(PYTHON) -m ops

.PHONY: help setup run test test-long check fmt lock bench stop token demo

help:
	@echo "make run        set everything up, then serve (API_HOST, API_PORT, DATA_DIR)"
	@echo "make setup      set everything up, start Postgres and Ray, and serve nothing"
	@echo "make stop       end what was left running: API, sandboxes, Ray, Postgres"
	@echo "make token      a development token on standard output (SUB=uuid)"
	@echo "make demo       a sandbox and some code, against a running server"
	@echo "make test       set everything up, check, and run every test but the long ones"
	@echo "make test-long  the long tests"
	@echo "make check      lint, types, layers, schema comparison"
	@echo "make bench      the measurements"
	@echo "make fmt        format, and fix what can be fixed"
	@echo "make lock       resolve the lock files anew (UPGRADE=1 for the newest versions)"

setup:
	$(OPS) setup

run:
	$(OPS) run

test:
	$(OPS) test

test-long:
	$(OPS) test -m long

check:
	$(OPS) check

fmt:
	$(OPS) fmt

lock:
	$(OPS) lock $(if $(UPGRADE),--upgrade)

bench:
	$(OPS) bench

stop:
	$(OPS) stop

token:
	$(OPS) token $(if $(SUB),--sub=$(SUB))

demo:
	$(OPS) demo
