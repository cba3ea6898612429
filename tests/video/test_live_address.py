import sys

import pytest

from tubedet.video.live_address import live_source_of, without_secrets


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("rtsp://10.0.0.7/axis-media/media.amp", "10.0.0.7-axis-media-media.amp"),
        ("rtsp://admin:geheim@cam.local:554/h264?ch=1", "cam.local-554-h264"),
        ("RTSP://cam/live", "cam-live"),
        ("http://127.0.0.1:8080/live.ts", "127.0.0.1-8080-live.ts"),
        ("https://[::1]:8443/x", "1-8443-x"),
        ("rtmp://host/app/key", "host-app-key"),
        ("srt://host:9000", "host-9000"),
        ("udp://@239.0.0.1:1234", "239.0.0.1-1234"),
        ("camera:0", "camera-0"),
        ("camera:/dev/v4l/by-id/usb-x", "camera-dev-v4l-by-id-usb-x"),
        ("-", "stdin"),
    ],
)
def test_a_live_address_gives_a_name_for_files(text: str, stem: str) -> None:
    source = live_source_of(text)
    assert source is not None
    assert source.stem == stem


@pytest.mark.parametrize(
    "text",
    ["", "video.mp4", "s3://bucket/a.mp4", "file:///a.mp4", "camera:", "rtsp://", "C:\\a.mp4"],
)
def test_other_texts_name_no_live_source(text: str) -> None:
    assert live_source_of(text) is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:geheim@cam/live", "rtsp://admin:***@cam/live"),
        ("rtsp://admin:a:b@c/d@cam/live", "rtsp://admin:***@c/d@cam/live"),
        ("rtsp://admin:geheim#?@cam/live", "rtsp://admin:***@cam/live"),
        ("rtsp://admin@cam/live", "rtsp://admin@cam/live"),
        ("http://cam/v?user=a&pwd=geheim&n=1", "http://cam/v?user=a&pwd=***&n=1"),
        ("http://cam/v?Token=geheim", "http://cam/v?Token=***"),
        ("rtsp://cam/user=a&password=geheim&n=1.sdp", "rtsp://cam/user=a&password=***&n=1.sdp"),
        ("http://[fe80::1]:80/a:b@c", "http://[fe80::1]:80/a:b@c"),
    ],
)
def test_passwords_and_keys_are_not_shown(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    source = live_source_of(address)
    assert source is not None
    assert source.name == shown
    assert "geheim" not in repr(source) + source.stem
    assert source.opened == address


@pytest.mark.parametrize(
    ("platform", "opened", "format_name"),
    [
        ("linux", "/dev/video1", "v4l2"),
        ("darwin", "1", "avfoundation"),
        ("win32", "video=1", "dshow"),
    ],
)
def test_a_camera_is_opened_as_the_system_has_it(
    platform: str, opened: str, format_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    source = live_source_of("camera:1")
    assert source is not None
    assert (source.opened, source.format_name) == (opened, format_name)
