"""What is served, told to everybody who may ask, and changed by an operator alone."""

from __future__ import annotations

from serving.keys import Keys, add_key


def test_editions_are_listed_and_what_cannot_be_is_refused(served):
    name = served.service.edition.name
    with served.client() as client:
        (edition,) = client.get("/v1/editions").json()["data"]
        assert (edition["name"], edition["state"]) == (name, "serving")
        assert set(edition["checkpoints"]) == {"expert-0", "expert-1", "router"}
        promoted = client.post(f"/v1/editions/{name}/promote")
        rolled_back = client.post(f"/v1/editions/{name}/rollback")
        unknown = client.post("/v1/editions/nothing/rollback")
    assert (promoted.status_code, rolled_back.status_code, unknown.status_code) == (400, 400, 404)
    assert "only a canary" in promoted.json()["error"]["message"]
    assert "none to go back to" in rolled_back.json()["error"]["message"]


def test_only_the_operators_key_says_what_is_served(serve, tmp_path):
    file = tmp_path / "keys"
    shown = {name: f"Bearer {add_key(file, name)}" for name in ("me", "operator")}
    served = serve(more={"keys": Keys(file)}.items())
    path = f"/v1/editions/{served.service.edition.name}/promote"
    with served.client() as client:
        statuses = {
            name: client.post(path, headers={"Authorization": bearer}).status_code
            for name, bearer in shown.items()
        }
        stranger = client.post(path).status_code
    assert statuses == {"me": 403, "operator": 400}
    assert stranger == 401
