"""Where the gRPC server listens, and where it does not."""

from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import BadInput, ConfigError
from serving.rpc.server import GrpcFrontEnd


def test_port_in_use_is_refused_by_its_key(served):
    settings = served.run.config.serving.model_copy(update={"grpc_listen": served.address})
    front = GrpcFrontEnd(served.service, settings, None, None)
    with pytest.raises(BadInput, match=r"serving\.grpc_listen"):
        front.start()


@pytest.mark.parametrize("listen", ["0.0.0.0:8001", "example.org:8001"])
def test_address_beyond_loopback_without_tls_and_keys_is_refused(listen):
    for more in ([], ["serving.tls=tls"], ["serving.api_keys=keys.toml"]):
        with pytest.raises(ConfigError, match=r"grpc_listen.*serving\.tls.*serving\.api_keys"):
            read_config(None, [f"serving.grpc_listen={listen}", *more])
    both = ["serving.tls=tls", "serving.api_keys=keys.toml", f"serving.grpc_listen={listen}"]
    assert read_config(None, both).serving.grpc_listen == listen


def test_no_address_is_none_and_one_that_cannot_be_read_is_refused():
    assert not read_config(None, ['serving.grpc_listen=""']).serving.grpc_listen
    with pytest.raises(ConfigError, match="host:port"):
        read_config(None, ["serving.grpc_listen=localhost"])


def test_folder_without_certificates_is_refused_by_its_key(served, tmp_path):
    settings = served.run.config.serving.model_copy(update={"tls": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"serving\.tls.*atoll certs"):
        GrpcFrontEnd(served.service, settings, None, None)
