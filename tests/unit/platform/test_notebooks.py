"""Notebooks in the operator's Jupyter, held against a double of its contents API over HTTP."""

import pytest

from quickalign.core.errors import AccessError, ConflictError, OptionError, UnavailableError
from quickalign.platform.config import Config, load
from quickalign.platform.notebooks import Notebooks
from tests.doubles.jupyter_server import TOKEN, Jupyter, serve

NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def jupyter():
    with serve(Jupyter()) as running:
        yield running


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "jupyter-token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def notebooks(jupyter, token_file):
    return Notebooks(Config(jupyter_url=f"{jupyter.url}/", jupyter_token_file=token_file))


def test_a_notebook_is_written_and_nothing_is_written_over(jupyter, notebooks):
    assert notebooks.has_jupyter
    assert notebooks.open("qwen2", NOTEBOOK) == f"{jupyter.url}/lab/tree/qwen2.ipynb"
    jupyter.notebooks["qwen2.ipynb"] = "what somebody worked on"
    assert notebooks.open("qwen2", NOTEBOOK) == f"{jupyter.url}/lab/tree/qwen2-2.ipynb"
    assert jupyter.notebooks == {"qwen2.ipynb": "what somebody worked on", "qwen2-2.ipynb": NOTEBOOK}


def test_too_many_of_a_name(jupyter, notebooks):
    jupyter.notebooks |= {"a.ipynb": NOTEBOOK} | {f"a-{number}.ipynb": NOTEBOOK for number in range(2, 300)}
    with pytest.raises(ConflictError, match="200 notebooks of the name 'a'"):
        notebooks.open("a", NOTEBOOK)


def test_without_its_token(jupyter, token_file, tmp_path):
    with pytest.raises(AccessError, match=r"refuses to be written to \(HTTP 403\).*jupyter_token_file"):
        Notebooks(Config(jupyter_url=jupyter.url)).open("a", NOTEBOOK)
    token_file.write_text("another")
    with pytest.raises(AccessError, match="refuses"):
        Notebooks(Config(jupyter_url=jupyter.url, jupyter_token_file=token_file)).open("a", NOTEBOOK)
    with pytest.raises(OptionError, match="token cannot be read"):
        Notebooks(Config(jupyter_url=jupyter.url, jupyter_token_file=tmp_path / "none")).open("a", NOTEBOOK)


def test_something_else_answers(jupyter, token_file):
    elsewhere = jupyter.url.removesuffix(jupyter.base)
    with pytest.raises(OptionError, match=r"is no Jupyter server \(HTTP 404\)"):
        Notebooks(Config(jupyter_url=elsewhere, jupyter_token_file=token_file)).open("a", NOTEBOOK)


def test_nothing_answers(token_file):
    with serve(Jupyter()) as gone:
        address = gone.url
    with pytest.raises(UnavailableError, match=r"does not answer: .* can be downloaded meanwhile"):
        Notebooks(Config(jupyter_url=address, jupyter_token_file=token_file)).open("a", NOTEBOOK)


def test_it_cannot_write(jupyter, notebooks):
    jupyter.fail_with = 500
    with pytest.raises(UnavailableError, match=r"could not write the notebook \(HTTP 500\): .*the disk is full"):
        notebooks.open("a", NOTEBOOK)


def test_none_is_configured():
    assert not Notebooks(Config()).has_jupyter
    with pytest.raises(OptionError, match="Set jupyter_url"):
        Notebooks(Config()).open("a", NOTEBOOK)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "localhost:8888", "http://", "http://a b", "http://a/?token=b"]
)
def test_addresses_that_cannot_be(tmp_path, address):
    (tmp_path / "config.toml").write_text(f"jupyter_url = {address!r}\n".replace("'", '"'))
    with pytest.raises(OptionError, match="jupyter_url"):
        load(tmp_path)
