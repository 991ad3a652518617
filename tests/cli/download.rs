//! `download` against servers on loopback that drop connections, lie about lengths, ignore
//! ranges, send wrong bytes, redirect, and are busy.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use serde_json::Value;

use crate::harness::World;
use crate::server::{Request, reply, serve};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Honest,
    /// Closes after a third, until asked for the rest.
    Drops,
    /// Says that it has more than it sends, at first.
    SaysLonger,
    /// The same, and knows no ranges.
    IgnoresRanges,
    /// Answers a range with another one, at first.
    OtherRange,
    Redirects,
    /// 429, then 503, then well.
    Busy,
    /// Has another file when it is asked for the rest.
    Changes,
    /// Answers a range that begins at the end with 416, as the standard says.
    Strict,
    // Never well:
    WrongBytes,
    SaysShorter,
    Gone,
    Loops,
    AlwaysBusy,
}

/// Serves `files` in a way.
fn server(way: Way, files: Vec<(String, Vec<u8>)>) -> String {
    let files = Arc::new(files);
    let port = serve(move |request: Request, stream, n| {
        let name = request.path.trim_start_matches("/real").trim_start_matches('/');
        let Some((_, bytes)) = files.iter().find(|(file, _)| file == name) else {
            return reply(stream, "404 Not Found", &["Content-Length: 0".into()], b"");
        };
        let length = |n: usize| format!("Content-Length: {n}");
        let third = bytes.len() / 3;
        match (way, request.range) {
            (Way::Gone, _) => reply(stream, "404 Not Found", &[length(0)], b""),
            (Way::AlwaysBusy, _) => {
                reply(stream, "503 Service Unavailable", &["Retry-After: 0".into(), length(0)], b"");
            }
            (Way::Busy, _) if n < 2 => {
                let status = ["429 Too Many Requests", "503 Service Unavailable"][n];
                reply(stream, status, &["Retry-After: 0".into(), length(0)], b"");
            }
            (Way::Redirects, _) if !request.path.starts_with("/real") => {
                reply(stream, "302 Found", &[format!("Location: /real/{name}"), length(0)], b"");
            }
            (Way::Loops, _) => reply(stream, "302 Found", &[format!("Location: /{name}"), length(0)], b""),
            (Way::WrongBytes, _) => {
                let mut other = bytes.clone();
                other[third] ^= 1;
                reply(stream, "200 OK", &[length(other.len())], &other);
            }
            (Way::SaysShorter, _) => reply(stream, "200 OK", &[length(third)], &bytes[..third]),
            (Way::SaysLonger, None) if n < 2 => reply(stream, "200 OK", &[length(bytes.len() + 5)], bytes),
            (Way::OtherRange, Some(_)) if n < 2 => {
                let range = format!("Content-Range: bytes 1-{}/{}", bytes.len() - 1, bytes.len());
                reply(stream, "206 Partial Content", &[range, length(bytes.len() - 1)], &bytes[1..]);
            }
            (Way::Drops | Way::OtherRange, None) if n < 2 => {
                reply(stream, "200 OK", &[length(bytes.len())], &bytes[..third]);
            }
            (Way::IgnoresRanges, _) if n < 3 => {
                reply(stream, "200 OK", &[length(bytes.len())], &bytes[..third + 10 * n]);
            }
            (Way::Drops, Some(from)) if from < bytes.len() => {
                let range = format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                reply(stream, "206 Partial Content", &[range, length(bytes.len() - from)], &bytes[from..]);
            }
            (Way::Changes, None) if n == 0 => {
                let other = vec![7; third];
                reply(stream, "200 OK", &["ETag: \"a\"".into(), length(bytes.len())], &other);
            }
            (Way::Changes, Some(from)) => {
                let range = format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                let headers = ["ETag: \"b\"".into(), range, length(bytes.len() - from)];
                reply(stream, "206 Partial Content", &headers, &bytes[from..]);
            }
            (Way::Changes, None) => {
                reply(stream, "200 OK", &["ETag: \"b\"".into(), length(bytes.len())], bytes);
            }
            (Way::Strict, Some(from)) if from >= bytes.len() => {
                reply(stream, "416 Range Not Satisfiable", &[length(0)], b"");
            }
            (Way::SaysLonger, Some(_)) => reply(stream, "416 Range Not Satisfiable", &[length(0)], b""),
            _ => reply(stream, "200 OK", &[length(bytes.len())], bytes),
        }
    });
    format!("http://127.0.0.1:{port}")
}

/// A zip of folders of pictures, and its MD5 by another crate's word.
fn archive() -> (Vec<u8>, String) {
    use md5::Digest;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for i in 0..8u8 {
        let mut png = std::io::Cursor::new(Vec::new());
        image::GrayImage::from_pixel(6, 5, image::Luma([i * 30]))
            .write_to(&mut png, image::ImageFormat::Png)
            .unwrap();
        let split = if i < 6 { "train" } else { "val" };
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(format!("set/{split}/class{}/{i}.png", i % 2), options).unwrap();
        archive.write_all(png.get_ref()).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    let sum = md5::Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes, sum)
}

fn manifest(world: &World, urls: &[String], sum: &str) {
    let urls: Vec<String> = urls.iter().map(|url| format!("\"{url}/set.zip\"")).collect();
    let text = format!(
        r#"name = "made"
title = "made up"
licence = "none"
origin = "here"
citation = "nobody"
layout = "folders"
splits = {{ train = 6, validation = 2 }}
names = {{ class0 = "even", class1 = "odd" }}
[[files]]
name = "set.zip"
urls = [{}]
{sum}
"#,
        urls.join(", ")
    );
    fs::write(world.path("made.toml"), text).unwrap();
}

#[test]
fn a_set_is_fetched_verified_and_converted_or_nothing_is_left() {
    let (bytes, sum) = archive();
    for way in [
        Way::Honest,
        Way::Changes,
        Way::Drops,
        Way::IgnoresRanges,
        Way::OtherRange,
        Way::Redirects,
        Way::Busy,
    ] {
        let world = World::new();
        manifest(
            &world,
            &[server(way, vec![("set.zip".into(), bytes.clone())])],
            &format!("md5 = \"{sum}\""),
        );
        let outcome = world.run("download made.toml --to got --json");
        assert_eq!(outcome.code, Some(0), "{way:?}: {}", outcome.err);
        let report: Value = serde_json::from_str(&outcome.out).unwrap();
        assert_eq!(report["splits"], serde_json::json!({ "train": 6, "validation": 2 }), "{way:?}");
        assert_eq!(report["classes"], serde_json::json!(["even", "odd"]), "{way:?}");
        assert!(!outcome.err.contains("warning"), "{}", outcome.err);
        assert!(!world.path("got/.download").exists() && !world.path("got/.ingest").exists());
    }
    for (way, words) in [
        (Way::WrongBytes, "another file, or a damaged one"),
        (Way::SaysShorter, "another file, or a damaged one"),
        (Way::Gone, "404"),
        (Way::Loops, "redirects"),
        (Way::AlwaysBusy, "503"),
        (Way::SaysLonger, ""),
    ] {
        let world = World::new();
        manifest(
            &world,
            &[server(way, vec![("set.zip".into(), bytes.clone())])],
            &format!("md5 = \"{sum}\""),
        );
        let outcome = world.run("download made.toml --to got");
        if way == Way::SaysLonger {
            // It may come right in the end; it must not come wrong.
            assert!(outcome.code == Some(0) || !world.path("got/data").exists(), "{}", outcome.err);
            continue;
        }
        assert_eq!(outcome.code, Some(1), "{way:?}: {}", outcome.err);
        assert!(outcome.err.contains("set.zip") && outcome.err.contains(words), "{way:?}: {}", outcome.err);
        assert!(!world.path("got/data").exists() && !world.path("got/.download/set.zip").exists(), "{way:?}");
    }
}

#[test]
fn a_download_that_was_killed_at_its_end_is_gone_on_with() {
    let (bytes, sum) = archive();
    let world = World::new();
    let address = server(Way::Strict, vec![("set.zip".into(), bytes.clone())]);
    manifest(&world, &[address], &format!("md5 = \"{sum}\""));
    fs::create_dir_all(world.path("got/.download")).unwrap();
    fs::write(world.path("got/.download/set.zip.partial"), &bytes).unwrap();
    let outcome = world.run("download made.toml --to got");
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
}

#[test]
fn another_place_is_tried_and_mirrors_are_taken() {
    let (bytes, sum) = archive();
    let world = World::new();
    let files = || vec![("set.zip".to_owned(), bytes.clone())];
    manifest(
        &world,
        &[server(Way::Gone, files()), server(Way::Honest, files())],
        &format!("md5 = \"{sum}\""),
    );
    world.succeed("download made.toml --to got");
    // An address where nobody listens, but a mirror.
    manifest(&world, &["http://127.0.0.1:9".into()], &format!("md5 = \"{sum}\""));
    world.succeed(&format!("download made.toml --to mirrored --mirror {}", server(Way::Honest, files())));
    assert_eq!(
        fs::read(world.path("got/data/train-00000-of-00001.parquet")).unwrap(),
        fs::read(world.path("mirrored/data/train-00000-of-00001.parquet")).unwrap()
    );
}

#[test]
fn sums_that_nobody_confirmed_are_told() {
    let (bytes, sum) = archive();
    let world = World::new();
    manifest(&world, &[server(Way::Honest, vec![("set.zip".into(), bytes)])], "");
    let outcome = world.succeed("download made.toml --to got --keep");
    assert!(
        outcome.err.contains("its publisher names no sum") && outcome.err.contains("SHA-256"),
        "{}",
        outcome.err
    );
    assert!(world.path("got/.download/set.zip").exists());
    // From a local folder, and the wrong one.
    manifest(&world, &["http://127.0.0.1:9".into()], &format!("md5 = \"{sum}\""));
    world.succeed("download made.toml --from got/.download --to local");
    fs::write(world.path("got/.download/set.zip"), b"other").unwrap();
    world.fail("download made.toml --from got/.download --to wrong", 1, &["set.zip", "another file"]);
}

#[test]
fn data_sets_come_from_the_hub() {
    let world = World::new();
    let shard = include_bytes!("../golden/parquet/plain.parquet").to_vec();
    let files = Arc::new(shard);
    let port = serve(move |request: Request, stream, _| {
        let length = |n: usize| format!("Content-Length: {n}");
        let answer =
            |stream: &mut _, body: &str| reply(stream, "200 OK", &[length(body.len())], body.as_bytes());
        match request.path.as_str() {
            // As the Hub says it: addresses on its own name.
            "/api/datasets/somebody/pictures/parquet" => answer(
                stream,
                r#"{"default": {"train": ["https://huggingface.co/files/0.parquet", "https://huggingface.co/files/1.parquet"], "test": ["https://huggingface.co/files/2.parquet"]}}"#,
            ),
            "/api/datasets/somebody/several/parquet" => answer(stream, r#"{"a": {}, "b": {}}"#),
            "/api/datasets/somebody/own/revision/main" => answer(
                stream,
                r#"{"sha": "0123", "siblings": [{"rfilename": "data/train-00000-of-00001.parquet"}, {"rfilename": "../evil.parquet"}]}"#,
            ),
            "/api/datasets/somebody/own/revision/v2" => answer(
                stream,
                r#"{"sha": "4567", "siblings": [{"rfilename": "test/0000.parquet"}, {"rfilename": "train/0000.parquet"}, {"rfilename": "train/0001.parquet"}]}"#,
            ),
            "/api/datasets/somebody/folders/revision/v2" => answer(
                stream,
                r#"{"sha": "4567", "siblings": [{"rfilename": "en/test/0.parquet"}, {"rfilename": "de/0.parquet"}]}"#,
            ),
            "/api/datasets/somebody/html/parquet" => {
                answer(stream, r#"{"default": {"train": ["https://huggingface.co/page"]}}"#);
            }
            "/page" => answer(stream, "<html>Please come back later</html>"),
            "/api/datasets/somebody/busy/parquet" => reply(stream, "403 Forbidden", &[length(0)], b""),
            path if path.starts_with("/datasets/somebody/own/resolve/") => {
                reply(stream, "200 OK", &[length(files.len())], &files);
            }
            path if path.starts_with("/files/")
                && request.authorization.as_deref() == Some("Bearer hf_secret") =>
            {
                reply(stream, "200 OK", &[length(files.len())], &files);
            }
            _ => reply(stream, "404 Not Found", &[length(0)], b""),
        }
    });
    let endpoint = format!("http://127.0.0.1:{port}");
    let environment = [("HF_ENDPOINT", endpoint.as_str()), ("HF_TOKEN", "hf_secret")];
    let run = |line: &str, code: i32| {
        let outcome = world.run_with(line, &environment);
        assert_eq!(outcome.code, Some(code), "{line}: {}", outcome.err);
        outcome
    };
    let report: Value =
        serde_json::from_str(&run("download hf:somebody/pictures --to got --json", 0).out).unwrap();
    assert_eq!(report["splits"], serde_json::json!({ "test": 8, "train": 16 }));
    run("inspect got --no-sheets", 0);
    run("download hf:somebody/own", 0);
    assert!(world.path("datasets/own/data/train-00000-of-00001.parquet").exists());
    // Of another revision: nothing that lies there is taken for it.
    run("download hf:somebody/own --keep", 0);
    let report: Value =
        serde_json::from_str(&run("download hf:somebody/own@v2 --keep --json", 0).out).unwrap();
    assert_eq!(report["splits"], serde_json::json!({ "test": 8, "train": 16 }));
    let error = run("download hf:somebody/folders@v2 --to x", 2).err;
    assert!(error.contains("--config: de, en"), "{error}");
    let error = run("download hf:somebody/html --to x", 1).err;
    assert!(error.contains("no Parquet file"), "{error}");
    let error = run("download hf:somebody/busy --to x", 1).err;
    assert!(error.contains("403"), "{error}");
    let error = run("download hf:somebody/several --to x", 2).err;
    assert!(error.contains("--config: a, b"), "{error}");
    let error = run("download hf:somebody/nothing --to x", 1).err;
    assert!(error.contains("404"), "{error}");
    assert!(!world.path("x").exists());
}

#[test]
fn known_sets_are_listed_and_said_in_full() {
    let world = World::new();
    let listed = world.succeed("datasets").out;
    for name in ["fashion-mnist", "cifar10", "stl10", "imagenette-160", "imagenet", "eurosat", "svhn"] {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{name}: {listed}");
    }
    let one = world.succeed("datasets imagewoof").out;
    assert!(one.contains("not confirmed") && one.contains("licence"), "{one}");
    world.fail("datasets cifar11", 2, &["did you mean cifar10"]);
    world.fail("download imagenet", 1, &["--from DIR"]);
}
