"""The control API under /node/v1, asked with the client's own requests."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from node.api import CannotListen
from protocols.http import control, requests
from protocols.http.requests import ApiProblem
from protocols.jobs import Failed
from tests.node.api.house import LIMIT_S, Api, FakeModel, an_api


async def problem_of(api: Api, request: requests.Request[Any]) -> ApiProblem:
    with pytest.raises(ApiProblem) as caught:
        await api.call(request)
    return caught.value


async def test_status_says_where_everything_is(api: Api) -> None:
    status: control.Status = await api.call(requests.status())
    assert status.addresses == api.bound.addresses
    assert status.token_file == str(api.parts.home.token_file)
    assert status.default_model == "starter"
    assert status.owner == api.parts.identity.owner_id
    assert "leaves this machine" in status.network
    assert status.warnings == ()
    assert status.memory.total > 0


async def test_status_warns_of_open_doors(tmp_path: Path) -> None:
    async with an_api(
        tmp_path / "home", host="0.0.0.0", token_required=False, cors_origins=("http://a",)
    ) as api:
        assert api.url.startswith("http://127.0.0.1:")
        warnings = (await api.call(requests.status())).warnings
    assert [word in " ".join(warnings) for word in ("0.0.0.0", "no API key", "http://a")] == [
        True
    ] * 3


async def test_status_warns_of_a_default_model_that_is_not_there(tmp_path: Path) -> None:
    async with an_api(tmp_path / "home", default_model="qwen") as api:
        (warning,) = (await api.call(requests.status())).warnings
    assert "'qwen', which is not in the library: starter answers" in warning


async def test_doctor_config_and_logs(api: Api) -> None:
    doctor: control.Doctor = await api.call(requests.doctor())
    assert doctor.findings[0].state == "ok"
    config: control.Config = await api.call(requests.config())
    found = {setting.name: setting for setting in config.settings}
    assert (found["api.port"].value, found["api.port"].default) == (0, 8750)
    api.parts.home.log_file.write_text("one\ntwo\nthree ä\n")
    tail: control.LogTail = await api.call(requests.logs(2))
    assert tail.lines == ("two", "three ä")


async def test_a_secret_setting_is_not_shown(tmp_path: Path) -> None:
    async with an_api(tmp_path / "home") as api:
        shown: control.Config = await api.call(requests.config())
    assert {s.name: s.value for s in shown.settings}["content.hub_token"] == ""


async def test_a_log_that_is_not_there_yet_is_empty(api: Api) -> None:
    assert (await api.call(requests.logs())).lines == ()


async def test_events_are_read_in_order_and_checked(api: Api) -> None:
    for number in range(5):
        await api.parts.events.append("test.thing", f"s{number}", number=number)
    found: control.EventList = await api.call(requests.events(kind="test.", limit=2))
    assert [event.facts["number"] for event in found.events] == [0, 1]
    latest: control.EventList = await api.call(requests.events(after=-1, limit=1, verify=True))
    assert (latest.events[0].subject, latest.broken_at) == ("s4", None)
    one: control.EventList = await api.call(requests.events(subject="s3"))
    assert len(one.events) == 1


async def test_the_latest_events_of_a_kind_are_found_behind_any_others(api: Api) -> None:
    await api.parts.events.append("test.rare", "s1")
    for _ in range(5):
        await api.parts.events.append("test.often", "s2")
    found: control.EventList = await api.call(requests.events(after=-1, limit=2, kind="test.rare"))
    assert [event.subject for event in found.events] == ["s1"]
    about: control.EventList = await api.call(requests.events(after=-1, limit=2, subject="s1"))
    assert [event.kind for event in about.events] == ["test.rare"]


async def test_the_way_of_a_job_is_told_from_the_log(api: Api) -> None:
    await api.parts.events.append("job.admitted", "job_1", rule="owner-all")
    await api.parts.events.append("job.ended", "job_1", finish="stop")
    why: control.JobWhy = await api.call(requests.job("job_1"))
    assert [event.kind for event in why.events] == ["job.admitted", "job.ended"]
    assert (await problem_of(api, requests.job("job_2"))).status == 404


async def test_stop_answers_and_then_asks_the_node_to_stop(api: Api) -> None:
    await api.call(requests.stop())
    with trio.fail_after(LIMIT_S):
        await api.serving.stopped.wait()


async def test_models_are_shown_loaded_unloaded_and_removed(api: Api) -> None:
    listed: control.ModelList = await api.call(requests.models())
    assert [(m.name, m.default, m.state) for m in listed.models] == [
        ("starter", True, "unloaded"),
        ("vectors", False, "unloaded"),
    ]
    loaded: control.ModelEntry = await api.call(requests.load_model("vectors"))
    assert (loaded.state, loaded.fits) == ("loaded", "yes")
    assert (await api.call(requests.status())).loaded == ("vectors",)
    unloaded: control.ModelEntry = await api.call(requests.unload_model("vectors"))
    assert unloaded.state == "unloaded"
    assert unloaded.memory_needed > 0
    assert unloaded.fit_reason
    await api.call(requests.set_default("vectors"))
    assert (await api.call(requests.model("vectors"))).default
    removed: control.Removed = await api.call(requests.remove_model("vectors"))
    assert removed == control.Removed("vectors", 1000)
    problem = await problem_of(api, requests.model("vectors"))
    assert (problem.status, problem.problem.code) == (404, "model_not_found")


async def test_a_model_that_answers_is_not_removed(api: Api) -> None:
    api.serving.busy = True
    problem = await problem_of(api, requests.remove_model("starter"))
    assert (problem.status, problem.problem.code) == (409, "model_busy")
    assert await api.parts.library.find("starter") == FakeModel("starter")


async def test_transfers_begin_are_watched_and_stopped(api: Api) -> None:
    pulled: control.Transfer = await api.call(requests.pull_model(control.PullModel("hf:a/b/c")))
    added: control.Transfer = await api.call(requests.add_model(control.AddModel("/m.gguf")))
    assert (pulled.kind, added.kind) == ("pull", "add")
    assert len((await api.call(requests.transfers())).transfers) == 2
    states = [each.state for each in await api.stream(requests.watch_transfer(pulled.id))]
    assert states == ["running", "done"]
    assert (await api.call(requests.stop_transfer(added.id))).state == "stopped"
    assert (await api.call(requests.forget_transfer(added.id))).id == added.id
    assert len((await api.call(requests.transfers())).transfers) == 1
    assert (await problem_of(api, requests.transfer("none"))).status == 404
    assert (await problem_of(api, requests.forget_transfer("none"))).status == 404
    with pytest.raises(ApiProblem) as caught:
        await api.stream(requests.watch_transfer("none"))
    assert caught.value.status == 404


async def test_models_of_other_programs_are_adopted(api: Api) -> None:
    adopted: control.Adopted = await api.call(
        requests.adopt_models(control.AdoptModels("ollama", dry_run=True))
    )
    assert adopted.models[0].source == "ollama"


async def test_keys_are_made_listed_and_revoked(api: Api) -> None:
    made: control.MadeKey = await api.call(requests.new_grant(control.NewKey("laptop")))
    assert made.secret
    listed: control.KeyList = await api.call(requests.grants())
    assert [key.name for key in listed.grants] == ["laptop"]
    revoked: control.Key = await api.call(requests.revoke_grant(made.key.id))
    assert revoked.revoked_at is not None
    assert (await problem_of(api, requests.revoke_grant("nobody"))).status == 404
    bad = await problem_of(api, requests.new_grant(control.NewKey("x", may=("fly",))))
    assert (bad.status, bad.problem.code) == (400, "bad_request")


async def test_the_identity_is_shown_and_its_words_are_given(api: Api) -> None:
    identity: control.Identity = await api.call(requests.identity())
    assert identity.owner == api.parts.identity.owner_id
    words: control.BackupWords = await api.call(requests.backup_identity(control.BackupIdentity()))
    assert len(words.words.split()) == 24
    assert (await api.call(requests.status())).backed_up
    rotated: control.Identity = await api.call(requests.rotate_identity(control.RotateIdentity()))
    assert (rotated.rotations, rotated.owner) == (1, identity.owner)
    bad = await problem_of(api, requests.restore_identity(control.RestoreIdentity("no such words")))
    assert (bad.status, bad.problem.code) == (400, "bad_words")


async def test_the_owners_key_is_sealed_and_a_strange_device_cannot_be_revoked(api: Api) -> None:
    sealed = await api.call(requests.protect_identity(control.ProtectIdentity(new="long words")))
    assert sealed.passphrase
    wrong = await problem_of(api, requests.backup_identity(control.BackupIdentity("other")))
    assert (wrong.status, wrong.problem.code) == (403, "wrong_passphrase")
    revoke = control.RevokeDevice("nobody", passphrase="long words")
    missing = await problem_of(api, requests.revoke_device(revoke))
    assert (missing.status, missing.problem.code) == (404, "unknown_device")


async def test_words_bring_the_same_owner_to_another_home(api: Api, tmp_path: Path) -> None:
    saved: control.BackupWords = await api.call(requests.backup_identity(control.BackupIdentity()))
    async with an_api(tmp_path / "other") as other:
        ask = control.RestoreIdentity(saved.words, saved.chain)
        restored: control.Identity = await other.call(requests.restore_identity(ask))
    assert restored.owner == api.parts.identity.owner_id
    assert restored.device != api.parts.identity.device_id


async def test_default_names_whichever_model_is_the_default(api: Api) -> None:
    assert (await api.call(requests.model("default"))).name == "starter"


async def test_a_name_that_looks_like_the_unix_socket_but_is_a_file_is_left_alone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "home" / "run" / "api.sock"
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    async with an_api(tmp_path / "home") as api:
        assert len(api.bound.addresses) == 1
    assert file.read_text() == "mine"


async def test_metrics_are_plain_prometheus_text(api: Api) -> None:
    await api.get("/v1/nothing")
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'kith_info{version="0.0-test"} 1' in lines
    assert 'kith_tokens_total{kind="prompt"} 7' in lines
    assert 'kith_jobs_total{outcome="ended.stop"} 2' in lines
    assert 'kith_http_answers_total{status="404"} 1' in lines
    assert all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2 for line in lines)


async def test_the_description_is_served(api: Api) -> None:
    assert (await api.get("/node/v1/openapi.json")).json()["openapi"] == "3.1.0"


async def test_an_unexpected_error_is_logged_and_told_without_details(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def explode() -> list[str]:
        raise RuntimeError("the secret inside")

    api.serving.loaded = explode  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        problem = await problem_of(api, requests.status())
    assert (problem.status, problem.problem.code) == (500, "internal")
    assert "secret" not in problem.problem.message
    assert "the secret inside" in caplog.text
    assert (await api.call(requests.models())).models


async def test_a_taken_port_is_told_with_who_has_it(api: Api, tmp_path: Path) -> None:
    port = int(api.url.rsplit(":", 1)[1])
    with pytest.raises(BaseExceptionGroup) as caught:
        async with an_api(tmp_path / "other", port=port):
            raise AssertionError("two nodes on one port")
    found = caught.value.exceptions[0]
    assert isinstance(found, CannotListen)
    for word in (str(port), "--port", "api.port"):
        assert word in str(found)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a" * 300])
async def test_a_host_that_is_not_here_is_told(tmp_path: Path, host: str) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with an_api(tmp_path / "home", host=host):
            raise AssertionError("it listens where it cannot")
    assert isinstance(caught.value.exceptions[0], CannotListen)
    assert "api.host" in str(caught.value.exceptions[0])


async def test_a_home_too_deep_for_a_unix_socket_still_has_its_port(tmp_path: Path) -> None:
    async with an_api(tmp_path / ("d" * 100) / "home") as api:
        assert len(api.bound.addresses) == 1
        assert (await api.call(requests.status())).addresses == api.bound.addresses


async def test_the_socket_of_a_killed_node_is_replaced_and_removed_at_the_end(
    tmp_path: Path,
) -> None:
    left = tmp_path / "home" / "run" / "api.sock"
    left.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(left))
    async with an_api(tmp_path / "home") as api:
        assert api.bound.addresses[-1] == f"unix:{left}"
    assert not left.exists()


async def test_a_count_that_fails_is_no_crash(api: Api) -> None:
    api.serving.fail_count = Failed("model_failed", "the file is bad")
    made = await api.call(requests.new_conversation(control.NewConversation()))
    said, failed = await api.stream(requests.say(made.id, control.Say("hi")))
    assert isinstance(said, control.Said)
    assert isinstance(failed, control.AnswerFailed)
    assert failed.error.code == "model_failed"


async def test_a_setting_is_written_for_the_next_start(api: Api) -> None:
    made: control.ChangedSetting = await api.call(
        requests.set_config(control.ChangeSetting("api.port", "8800"))
    )
    assert (made.name, made.value) == ("api.port", "8800")
    assert "port = 8800" in api.parts.home.config_file.read_text()
    hidden: control.ChangedSetting = await api.call(
        requests.set_config(control.ChangeSetting("content.hub_token", "hf_secret"))
    )
    assert hidden.value == "(set)"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("api.prot", "1", 404), ("api.port", "many", 400), ("api.port", "70000", 400)],
)
async def test_a_setting_that_would_not_load_is_refused(
    api: Api, name: str, value: str, status: int
) -> None:
    problem = await problem_of(api, requests.set_config(control.ChangeSetting(name, value)))
    assert problem.status == status
    assert not api.parts.home.config_file.exists()
