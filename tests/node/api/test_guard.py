"""Who gets in: the host, the origin, the key, the size and the kind of what is sent."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from node.api import guard
from protocols.http import control, requests
from protocols.http.requests import ApiProblem
from tests.node.api.house import LIMIT_S, Api, an_api

MODELS = "/v1/models"
CHAT = "/v1/chat/completions"


async def raw(api: Api, text: str | bytes, *, until: bytes = b"") -> bytes:
    """Send bytes as they are; everything that comes back until the node closes, or until `until`."""
    host, port = api.url.removeprefix("http://").split(":")
    data = text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode()
    found = b""
    with trio.fail_after(LIMIT_S):
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            await stream.send_all(data)
            while until not in found or not until:
                more = await stream.receive_some(65536)
                if not more:
                    break
                found += more
    return found


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic abc", "Bearer"])
async def test_without_a_valid_key_nothing_is_told(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    for path in (MODELS, "/node/v1/status", "/metrics", "/nothing", "/node/v1/openapi.json"):
        answer = await api.http.get(path, headers=headers)
        assert answer.status_code == 401
        error = answer.json()["error"]
        assert error["code"] == "invalid_api_key"
        assert str(api.parts.home.token_file) in error["message"]
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_health_needs_no_key_and_tells_nothing_else(api: Api) -> None:
    answer = await api.http.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_an_api_key_gets_what_it_lists_and_no_more(api: Api) -> None:
    made = await api.call(requests.new_grant(control.NewKey("k", may=("models.read",))))
    assert (await api.call(requests.cards(), made.secret)).data
    with pytest.raises(ApiProblem) as caught:
        await api.call(requests.status(), made.secret)
    assert caught.value.status == 403
    assert "status" in caught.value.problem.message
    await api.call(requests.revoke_grant("k"))
    with pytest.raises(ApiProblem) as revoked:
        await api.call(requests.cards(), made.secret)
    assert revoked.value.status == 401


async def test_a_key_cannot_go_above_its_label_ceiling(api: Api) -> None:
    made = await api.call(requests.new_grant(control.NewKey("k")))
    headers = {"authorization": f"Bearer {made.secret}", "x-kith-label": "public"}
    body = {"messages": [{"role": "user", "content": "hi"}]}
    answer = await api.http.post(CHAT, json=body, headers=headers)
    assert answer.status_code == 403
    assert "ceiling" in answer.json()["error"]["message"]
    assert api.serving.jobs == []


async def test_a_key_cannot_add_a_model_that_may_go_further_than_its_ceiling(api: Api) -> None:
    made = await api.call(requests.new_grant(control.NewKey("k", may=("models.write",))))
    for verb, body in (("add", {"path": "/m.gguf"}), ("pull", {"ref": "hf:a/b/c.gguf"})):
        for label, status in (("public", 403), ("device", 202)):
            answer = await api.http.post(
                f"/node/v1/models/{verb}",
                json={**body, "label": label},
                headers={"Authorization": f"Bearer {made.secret}"},
            )
            assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", ["/node/v1/identity", "/node/v1/grants"])
async def test_keys_and_identity_are_the_owners_alone(api: Api, path: str) -> None:
    made = await api.call(requests.new_grant(control.NewKey("k", may=("*",))))
    answer = await api.http.get(path, headers={"authorization": f"Bearer {made.secret}"})
    assert answer.status_code == 403


async def test_with_the_token_switched_off_models_can_be_used_but_nothing_changed(
    tmp_path: Path,
) -> None:
    async with an_api(tmp_path / "home", token_required=False) as api:
        assert (await api.http.get(MODELS)).status_code == 200
        wrong = {"authorization": "Bearer none"}
        assert (await api.http.get(MODELS, headers=wrong)).status_code == 200
        assert (await api.http.post("/node/v1/stop")).status_code == 403
        assert (await api.http.get("/node/v1/conversations")).status_code == 403
        assert not api.serving.stopped.is_set()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8750", "localhost.evil.example", "", "1.2.3.4", "[::2]"]
)
async def test_a_foreign_host_is_refused_even_with_the_key(api: Api, host: str) -> None:
    answer = await raw(
        api,
        f"GET {MODELS} HTTP/1.1\nHost: {host}\nAuthorization: Bearer {api.token}\n"
        "Connection: close\n\n",
    )
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"host_not_allowed" in answer


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:80", "a.localhost"]
)
async def test_names_of_this_machine_are_hosts(api: Api, host: str) -> None:
    answer = await raw(
        api,
        f"GET {MODELS} HTTP/1.1\nHost: {host}\nAuthorization: Bearer {api.token}\n"
        "Connection: close\n\n",
    )
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_host_of_the_settings_is_answered(tmp_path: Path) -> None:
    async with an_api(tmp_path / "home", allowed_hosts=("node.lan",)) as api:
        answer = await api.get(MODELS, host="Node.LAN:8750")
        assert answer.status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", ""])
async def test_web_pages_are_refused_by_default(api: Api, origin: str) -> None:
    answer = await api.get(MODELS, origin=origin)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert "access-control-allow-origin" not in answer.headers


async def test_a_listed_page_may_ask_first_and_then_call(tmp_path: Path) -> None:
    origin = "http://localhost:3000"
    async with an_api(tmp_path / "home", cors_origins=(origin,)) as api:
        ask = {"origin": origin, "access-control-request-method": "POST"}
        first = await api.http.options(CHAT, headers=ask)
        assert first.status_code == 204
        assert first.headers["access-control-allow-origin"] == origin
        assert "authorization" in first.headers["access-control-allow-headers"]
        answer = await api.get(MODELS, origin=origin)
        assert answer.headers["access-control-allow-origin"] == origin
        assert (await api.http.get(MODELS, headers={"origin": origin})).status_code == 401
        assert (await api.get(MODELS, origin="http://other")).status_code == 403


async def test_nobody_else_may_ask_first(api: Api) -> None:
    ask = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    assert (await api.http.options(CHAT, headers=ask)).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_taken(api: Api, kind: str) -> None:
    answer = await api.post(CHAT, b'{"messages":[]}', content_type=kind)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("token", [True, False])
async def test_ten_megabytes_are_too_much(api: Api, told: bool, token: bool) -> None:
    async def pieces() -> object:
        for _ in range(160):
            yield b"x" * 65536

    body = b"x" * (10 * 1024 * 1024) if told else pieces()
    headers = {**(api.auth if token else {}), "content-type": "application/json"}
    answer = await api.http.post(CHAT, content=body, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 413
    assert "api.max_body_bytes" in answer.json()["error"]["message"]


async def test_a_body_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    async with an_api(tmp_path / "home", max_body_bytes=1000) as api:
        start = b'{"messages":[{"role":"user","content":"'
        body = start + b"x" * (1000 - len(start) - 4) + b'"}]}'
        assert (await api.post(CHAT, body)).status_code == 200
        assert (await api.post(CHAT, body + b" ")).status_code == 413


async def test_a_body_that_dawdles_is_given_up(api: Api, autojump_clock: object) -> None:
    """Checked on the guard alone, with a clock that jumps: no test waits half a minute."""
    entered = guard.Guard(
        _never,
        settings=api.parts.settings.api,
        grants=api.parts.grants,
        token_file="there",
    )
    sent: list[dict[str, object]] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": CHAT,
        "server": None,
        "headers": [(b"content-length", b"5")],
    }

    async def send(message: object) -> None:
        sent.append(message)  # type: ignore[arg-type]

    await entered(scope, trio.sleep_forever, send)
    assert sent[0]["status"] == 408


async def _never(*_: object) -> None:
    raise AssertionError("this must not be reached")


async def test_nobody_is_waited_for_who_goes_away_in_the_middle(api: Api) -> None:
    head = f"POST {CHAT} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {api.token}\n"
    host, port = api.url.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    await stream.send_all((head + "Content-Length: 100\n\n{").replace("\n", "\r\n").encode())
    await stream.aclose()
    assert (await api.get(MODELS)).status_code == 200
    assert api.serving.jobs == []


@pytest.mark.parametrize(
    "request_",
    [
        "NONSENSE\n\n",
        "GET / HTTP/1.1\n\n",
        "POST /v1/completions HTTP/1.1\nHost: localhost\nContent-Length: -5\n\n",
        "POST /v1/completions HTTP/1.1\nHost: localhost\nContent-Length: 5\nContent-Length: 6\n\n",
        "GET /v1/models HTTP/1.1\nHost: localhost\nX: " + "a" * 70_000 + "\n\n",
        "GET /\x00 HTTP/1.1\nHost: localhost\n\n",
    ],
)
async def test_what_is_no_http_is_answered_with_400_and_closed(api: Api, request_: str) -> None:
    answer = await raw(api, request_)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert (await api.get(MODELS)).status_code == 200


async def test_http2_is_not_spoken(api: Api) -> None:
    assert await raw(api, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == b""
    assert (await api.get(MODELS)).status_code == 200


async def test_web_sockets_are_refused(api: Api) -> None:
    answer = await raw(
        api,
        "GET /v1/models HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n"
        f"Authorization: Bearer {api.token}\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
        "Sec-WebSocket-Version: 13\n\n",
    )
    assert answer.startswith(b"HTTP/1.1 403")


async def test_every_answer_says_little_about_the_server(api: Api) -> None:
    for answer in (await api.get(MODELS), await api.http.get(MODELS), await api.get("/nothing")):
        assert answer.headers["server"] == "kith"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_unknown_paths_and_methods_are_told_in_the_same_shape(api: Api) -> None:
    missing = await api.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    wrong = await api.http.delete(MODELS, headers=api.auth)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]
    several = await api.http.put("/node/v1/conversations", headers=api.auth)
    assert several.headers["allow"] == "GET, HEAD, POST"


async def test_the_unix_socket_is_the_owners_own_door(api: Api) -> None:
    path = api.parts.home.socket
    assert api.bound.addresses[-1] == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        assert (await client.get("/node/v1/grants")).status_code == 200
        wrong = {"authorization": "Bearer wrong"}
        assert (await client.get("/node/v1/grants", headers=wrong)).status_code == 401
