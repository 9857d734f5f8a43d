from quickalign.serve.lean import is_quantised


def test_bitsandbytes_is_needed_for_what_is_stored_or_trained_quantised(tmp_path):
    assert is_quantised(tmp_path, "none"), "a folder that cannot be read is not judged here"
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    assert not is_quantised(tmp_path, "none")
    assert is_quantised(tmp_path, "4bit")
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "bitsandbytes"}}')
    assert is_quantised(tmp_path, "none")
