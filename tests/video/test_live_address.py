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
        ("rtsp://[broken/x", "broken-x"),
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
        ("rtsp://admin:a:b@c/d@cam/live", "rtsp://admin:***@cam/live"),
        ("rtsp://admin:geheim#?@cam/live", "rtsp://admin:***@cam/live"),
        ("rtsp://admin@cam/live", "rtsp://admin@cam/live"),
        ("http://cam/v?user=a&pwd=geheim&n=1", "http://cam/v?user=a&pwd=***&n=1"),
        ("http://cam/v?Token=geheim", "http://cam/v?Token=***"),
        ("rtsp://cam/user=a&password=geheim&n=1.sdp", "rtsp://cam/user=a&password=***&n=1.sdp"),
        ("rtsp://admin:1/geheim@127.0.0.1:9/x", "rtsp://admin:***@127.0.0.1:9/x"),
        ("rtsp://me@mail.example:geheim@cam/live", "rtsp://me@mail.example:***@cam/live"),
        ("rtsp://a:ge/heim?x=1@cam/live", "rtsp://a:***@cam/live"),
        ("rtsp://a:geheim@cam/live?mail=a@b", "rtsp://a:***@cam/live?mail=a@b"),
        ("http://cam/v?pw=geheim", "http://cam/v?pw=***"),
        ("http://cam/v?X-Amz-Signature=geheim/geheim=&n=1", "http://cam/v?X-Amz-Signature=***&n=1"),
        ("http://cam/v?authorization=Basic%20geheim", "http://cam/v?authorization=***"),
        ("http://cam/v?psk=a,geheim#geheim", "http://cam/v?psk=***"),
        ("srt://cam:9?passphrase=geheim&mode=caller", "srt://cam:9?passphrase=***&mode=caller"),
        ("srt://cam:9?streamid=#!::u=a@b,pw=geheim", "srt://cam:9?streamid=#!::u=a@b,pw=***"),
        ("srt://cam:9?streamid=#!::pw=geheim,r=x", "srt://cam:9?streamid=#!::pw=***,r=x"),
        (
            "srt://cam:9?streamid=%23!::pw%3Dgeheim%2Cr%3Dx",
            "srt://cam:9?streamid=%23!::pw%3D***%2Cr%3Dx",
        ),
        ("srt://cam:9?streamid=read:x:a:geheim", "srt://cam:9?streamid=read:x:a:***"),
        ("http://[fe80::1]:80/a:b@c", "http://[fe80::1]:80/a:b@c"),
        ("http://cam:80/v?mail=a@b", "http://cam:80/v?mail=a@b"),
        ("udp://@239.0.0.1:1234?ttl=1", "udp://@239.0.0.1:1234?ttl=1"),
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
    ("address", "is_playlist"),
    [
        ("http://cam:80/@a.M3U8?x=1", True),
        ("http://cam/live.mpd", True),
        ("http://cam/v.ts?next=a.m3u8", False),
    ],
)
def test_a_playlist_is_told_by_the_path_of_its_address(address: str, is_playlist: bool) -> None:
    source = live_source_of(address)
    assert source is not None
    assert source.is_playlist is is_playlist


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
