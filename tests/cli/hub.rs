//! `hf:OWNER/NAME` against servers on loopback that redirect, drop connections, lie and
//! refuse.

use std::fs;
use std::sync::{Arc, Mutex};

use crate::harness::World;
use crate::server::{reply, serve};

const TOKEN: &str = "hf_secret";
const WEIGHTS: &[u8] = include_bytes!("../golden/weights/zip.pth");
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server does to a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Honest,
    /// Closes the connection after a third, until asked for the rest.
    Drops,
    /// The same, and does not know ranges: always sends from the start, a little more each time.
    DropsWithoutRanges,
    /// Sends other bytes under the right hash.
    Lies,
    /// Says it is shorter than the Hub says.
    Short,
    /// 503 twice, then well.
    Busy,
    /// 404.
    Gone,
}

/// A Hub and, on another port, the store that it redirects to. Returns the Hub's address
/// and the tokens that reached the store.
fn hub(way: Way) -> (String, Arc<Mutex<Vec<String>>>) {
    let leaked = Arc::new(Mutex::new(Vec::new()));
    let seen = leaked.clone();
    let store = serve(move |request, stream, n| {
        seen.lock().unwrap().extend(request.authorization);
        let length = |n: usize| format!("Content-Length: {n}");
        let third = WEIGHTS.len() / 3;
        match (way, request.range) {
            (Way::Gone, _) => reply(stream, "404 Not Found", &[length(0)], b""),
            (Way::Busy, _) if n < 2 => {
                reply(stream, "503 Service Unavailable", &["Retry-After: 0".into(), length(0)], b"");
            }
            (Way::Short, _) => reply(stream, "200 OK", &[length(10)], &WEIGHTS[..10]),
            (Way::Lies, _) => {
                let mut other = WEIGHTS.to_vec();
                other[5000] ^= 1;
                reply(stream, "200 OK", &[length(other.len())], &other);
            }
            (Way::Drops, None) => reply(stream, "200 OK", &[length(WEIGHTS.len())], &WEIGHTS[..third]),
            (Way::Drops, Some(from)) => {
                let range = format!("Content-Range: bytes {from}-{}/{}", WEIGHTS.len() - 1, WEIGHTS.len());
                let rest = &WEIGHTS[from..];
                reply(stream, "206 Partial Content", &[range, length(rest.len())], rest);
            }
            (Way::DropsWithoutRanges, _) if n < 3 => {
                reply(stream, "200 OK", &[length(WEIGHTS.len())], &WEIGHTS[..third + 1000 * n]);
            }
            _ => reply(stream, "200 OK", &[length(WEIGHTS.len())], WEIGHTS),
        }
    });
    let hub = serve(move |request, stream, _| {
        let length = |body: &str| format!("Content-Length: {}", body.len());
        if request.authorization.as_deref() != Some("Bearer hf_secret") {
            return reply(stream, "401 Unauthorized", &[length("")], b"");
        }
        match request.path.as_str() {
            "/api/models/somebody/byol/revision/main" => {
                let body = format!(
                    r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "README.md"}}, {{"rfilename": "byol.pth"}}]}}"#
                );
                reply(stream, "200 OK", &[length(&body)], body.as_bytes());
            }
            path if path == format!("/somebody/byol/resolve/{COMMIT}/byol.pth") => {
                // First to itself, as the Hub does, then away.
                reply(stream, "307 Temporary Redirect", &["Location: /moved".into(), length("")], b"");
            }
            "/moved" => {
                let headers = [
                    format!("Location: http://127.0.0.1:{store}/object"),
                    format!("X-Linked-Size: {}", WEIGHTS.len()),
                    format!("X-Linked-ETag: \"{}\"", sha256()),
                    length(""),
                ];
                reply(stream, "302 Found", &headers, b"");
            }
            _ => reply(stream, "404 Not Found", &[length("")], b""),
        }
    });
    (format!("http://127.0.0.1:{hub}"), leaked)
}

/// Of WEIGHTS, by `sha256sum`'s rules.
fn sha256() -> String {
    use sha2::Digest;
    sha2::Sha256::digest(WEIGHTS).iter().map(|byte| format!("{byte:02x}")).collect()
}

const EXPORT: &str =
    "export --weights hf:somebody/byol --size 16 --mean 0.5 --std 0.25 --out out.safetensors";

#[test]
fn weights_are_fetched_whole_or_not_at_all() {
    for way in [Way::Honest, Way::Drops, Way::DropsWithoutRanges, Way::Busy] {
        let world = World::new();
        let (endpoint, leaked) = hub(way);
        let environment = [("HF_ENDPOINT", endpoint.as_str()), ("HF_TOKEN", TOKEN)];
        let outcome = world.run_with(EXPORT, &environment);
        assert_eq!(outcome.code, Some(0), "{way:?}: {}", outcome.err);
        assert!(leaked.lock().unwrap().is_empty(), "{way:?}: the token went to another server");
        let kept = world.path(format!("cache/byol/weights/somebody--byol/{COMMIT}"));
        assert_eq!(fs::read(kept.join("byol.pth")).unwrap(), WEIGHTS, "{way:?}");
        assert_eq!(fs::read_dir(kept).unwrap().count(), 1, "{way:?}");
    }
    for (way, word) in [(Way::Lies, "SHA-256"), (Way::Short, "10 bytes"), (Way::Gone, "404")] {
        let world = World::new();
        let (endpoint, _) = hub(way);
        let outcome = world.run_with(EXPORT, &[("HF_ENDPOINT", &endpoint), ("HF_TOKEN", TOKEN)]);
        assert_eq!(outcome.code, Some(1), "{way:?}: {}", outcome.err);
        assert!(outcome.err.contains(word), "{way:?}: {}", outcome.err);
        assert!(!world.path("out.safetensors").exists(), "{way:?}");
        let kept = world.path(format!("cache/byol/weights/somebody--byol/{COMMIT}/byol.pth"));
        assert!(!kept.exists(), "{way:?}: a wrong file under the right name");
    }
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    let world = World::new();
    let (endpoint, _) = hub(Way::Honest);
    let environment = [("HF_ENDPOINT", endpoint.as_str())];
    let outcome = world.run_with(EXPORT, &environment);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("HF_TOKEN"), "{}", outcome.err);
    let environment = [("HF_ENDPOINT", endpoint.as_str()), ("HF_TOKEN", TOKEN)];
    let outcome = world.run_with("export --weights hf:nobody/nothing --out a", &environment);
    assert!(outcome.err.contains("404") && outcome.code == Some(1), "{}", outcome.err);
    for name in ["hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/b@../c"] {
        world.fail(&format!("export --weights {name} --out a"), 2, &["hf:OWNER/NAME"]);
    }
}
