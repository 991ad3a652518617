//! Files over HTTP: resumed, retried, verified, and in place only when whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::http::header::HeaderMap;
use ureq::{Agent, Body};

use crate::terminal::Progress;

/// Tries of one request, or of one file without a byte more.
const TRIES: u32 = 5;
const MAX_REDIRECTS: usize = 8;
/// Longest that a server's `Retry-After` is obeyed.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Requests of one server, with its token. Proxies by the usual environment variables.
pub struct Client {
    agent: Agent,
    /// Sent to this scheme and host alone, never where it redirects to.
    origin: String,
    token: Option<String>,
}

/// An answer with what the servers on the way said (the first that said it).
struct Answer {
    response: Response<Body>,
    /// Of redirects and of the answer.
    headers: Vec<HeaderMap>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|headers| headers.get(name)?.to_str().ok())
    }

    /// A header of the answer itself.
    fn last(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

/// Why a request failed.
enum Failure {
    /// It may go better later, after so long if the server says so.
    Passing(anyhow::Error, Option<Duration>),
    /// There are no bytes from where it was to go on.
    Range(anyhow::Error),
    Final(anyhow::Error),
}

/// The server has no such thing.
#[derive(Debug)]
pub struct NotThere(String);

impl std::fmt::Display for NotThere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: there is no such thing", self.0)
    }
}

impl std::error::Error for NotThere {}

impl Client {
    /// For requests below `endpoint`.
    pub fn new(endpoint: &str, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(20)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("byol/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), origin: origin(endpoint).to_owned(), token }
    }

    /// A small text.
    pub fn text(&self, url: &str, limit: u64) -> Result<String> {
        retried(|| {
            let answer = self.get(url, None)?;
            let mut text = String::new();
            let mut body = answer.response.into_body().into_reader().take(limit + 1);
            body.read_to_string(&mut text).map_err(|e| Failure::Passing(anyhow!("{url}: {e}"), None))?;
            if text.len() as u64 > limit {
                return Err(Failure::Final(anyhow!("{url}: an answer of more than {limit} bytes")));
            }
            Ok(text)
        })
    }

    /// Fetches `url` to the file `to`. What an earlier try left is gone on with. If the
    /// server names a SHA-256, as the Hugging Face Hub does, the file must have it.
    pub fn download(&self, url: &str, to: &Path) -> Result<()> {
        let partial = partial_path(to);
        let mut last = 0;
        let mut tries = 0;
        loop {
            match self.go_on(url, to, &partial) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error) | Failure::Range(error)) => return Err(error),
                Err(Failure::Passing(error, wait)) => {
                    let now = fs::metadata(&partial).map_or(0, |m| m.len());
                    tries = if now > last { 1 } else { tries + 1 };
                    last = now;
                    if tries >= TRIES {
                        return Err(error.context(format!("given up after {TRIES} tries without progress")));
                    }
                    sleep(wait.unwrap_or_else(|| back_off(tries)));
                }
            }
        }
    }

    fn go_on(&self, url: &str, to: &Path, partial: &Path) -> Result<(), Failure> {
        let there = fs::metadata(partial).map_or(0, |m| m.len());
        let answer = match self.get(url, (there > 0).then_some(there)) {
            // All of it is there and was not yet judged, or it is another file's: once more, from 0.
            Err(Failure::Range(error)) => {
                remove(partial)?;
                return Err(Failure::Passing(error, Some(Duration::ZERO)));
            }
            other => other?,
        };
        let status = answer.response.status().as_u16();
        // Bytes of another file must not be joined to those that are there.
        let tag_path = partial.with_added_extension("etag");
        let (kept_tag, tag) = (fs::read_to_string(&tag_path).ok(), answer.last("etag").map(str::to_owned));
        if status == 206 && tag != kept_tag {
            remove(partial)?;
            let error = anyhow!("{url}: it has changed since a part of it was fetched");
            return Err(Failure::Passing(error, Some(Duration::ZERO)));
        }
        let total = match status {
            206 => match content_range(answer.last("content-range")) {
                Some((from, total)) if from == there => total,
                other => {
                    remove(partial)?;
                    let error = anyhow!("{url}: asked for bytes from {there}, got {other:?}");
                    return Err(Failure::Passing(error, None));
                }
            },
            _ => answer.last("content-length").and_then(|length| length.parse().ok()),
        };
        let expected = answer.header("x-linked-size").and_then(|size| size.parse::<u64>().ok());
        if let (Some(total), Some(expected)) = (total, expected)
            && total != expected
        {
            remove(partial)?;
            return Err(Failure::Final(anyhow!("{url}: {total} bytes, and the Hub says {expected}")));
        }
        let sha256 = answer.header("x-linked-etag").and_then(sha256_of_etag);
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .append(status == 206)
            .truncate(status != 206)
            .open(partial)
            .map_err(|e| Failure::Final(anyhow!("writing {}: {e}", partial.display())))?;
        let noted = match (status, &tag) {
            (206, _) => Ok(()),
            (_, Some(tag)) => fs::write(&tag_path, tag),
            (_, None) => fs::remove_file(&tag_path).or(Ok(())), // it may not be there
        };
        noted.map_err(|e| Failure::Final(anyhow!("writing {}: {e}", tag_path.display())))?;
        let start = if status == 206 { there } else { 0 };
        let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let received = self.receive(url, answer.response, &mut file, start, total, &name)?;
        if let Some(total) = total.or(expected)
            && received != total
        {
            let error = anyhow!("{url}: the connection ended after {received} of {total} bytes");
            return Err(Failure::Passing(error, None));
        }
        let whole = file.sync_all().with_context(|| format!("writing {}", partial.display()));
        whole.map_err(Failure::Final)?;
        if let Some(expected) = sha256 {
            let found = sha256_of(partial).map_err(Failure::Final)?;
            if found != expected {
                remove(partial)?;
                let error =
                    anyhow!("{url}: SHA-256 {found}, and the server says {expected}; nothing was kept");
                return Err(Failure::Final(error));
            }
        }
        fs::rename(partial, to).map_err(|e| Failure::Final(anyhow!("writing {}: {e}", to.display())))?;
        let _ = fs::remove_file(&tag_path); // there is none from a server without tags
        Ok(())
    }

    fn receive(
        &self,
        url: &str,
        response: Response<Body>,
        file: &mut File,
        start: u64,
        total: Option<u64>,
        name: &str,
    ) -> Result<u64, Failure> {
        let progress = total.map_or_else(|| Progress::spinner(name), |total| Progress::bytes(total, name));
        progress.set(start);
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut received = start;
        loop {
            let n = body.read(&mut buffer).map_err(|e| {
                let of = total.map_or_else(String::new, |total| format!(" of {total}"));
                Failure::Passing(anyhow!("{url}: after {received}{of} bytes: {e}"), None)
            })?;
            if n == 0 {
                progress.finish();
                return Ok(received);
            }
            if total.is_some_and(|total| received + n as u64 > total) {
                return Err(Failure::Final(anyhow!(
                    "{url}: more bytes than the {total:?} that were announced"
                )));
            }
            let written = file.write_all(&buffer[..n]);
            written.map_err(|e| Failure::Final(anyhow!("writing {name}: {e}")))?;
            received += n as u64;
            progress.set(received);
        }
    }

    /// One request, its redirects followed.
    fn get(&self, url: &str, from: Option<u64>) -> Result<Answer, Failure> {
        let mut url = url.to_owned();
        let mut headers = Vec::new();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&url);
            if let Some(from) = from {
                request = request.header("range", format!("bytes={from}-"));
            }
            if let Some(token) = &self.token
                && origin(&url) == self.origin
            {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|e| match e {
                ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure::Final(anyhow!("{url}: {e}")),
                other => Failure::Passing(anyhow!("{url}: {other}"), None),
            })?;
            headers.push(response.headers().clone());
            let answer = Answer { response, headers };
            match answer.response.status().as_u16() {
                200 | 206 => return Ok(answer),
                301 | 302 | 303 | 307 | 308 => {
                    let Some(location) = answer.last("location") else {
                        return Err(Failure::Final(anyhow!("{url}: a redirect to nowhere")));
                    };
                    url = absolute(&url, location);
                    headers = answer.headers;
                }
                status => return Err(refusal(&url, status, &answer, from.is_some())),
            }
        }
        Err(Failure::Final(anyhow!("{url}: more than {MAX_REDIRECTS} redirects")))
    }
}

fn refusal(url: &str, status: u16, answer: &Answer, partial: bool) -> Failure {
    let error = match status {
        401 | 403 => {
            anyhow!("{url}: status {status}; a private or gated repository needs a token in HF_TOKEN")
        }
        404 | 410 | 501 => NotThere(format!("{url}: status {status}")).into(),
        416 if partial => {
            let why = "status 416, the file is not longer than what was fetched of it";
            return Failure::Range(anyhow!("{url}: {why}"));
        }
        _ => anyhow!("{url}: status {status}"),
    };
    match status {
        408 | 425 | 429 | 500 | 502..=599 => {
            let wait = answer.last("retry-after").and_then(|seconds| seconds.parse().ok());
            Failure::Passing(error, wait.map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT)))
        }
        _ => Failure::Final(error),
    }
}

fn retried<T>(mut request: impl FnMut() -> Result<T, Failure>) -> Result<T> {
    let mut tries = 1;
    loop {
        match request() {
            Ok(value) => return Ok(value),
            Err(Failure::Final(error) | Failure::Range(error)) => return Err(error),
            Err(Failure::Passing(error, _)) if tries >= TRIES => {
                return Err(error.context(format!("given up after {TRIES} tries")));
            }
            Err(Failure::Passing(_, wait)) => sleep(wait.unwrap_or_else(|| back_off(tries))),
        }
        tries += 1;
    }
}

/// A quarter of a second, a half, one, two.
fn back_off(tries: u32) -> Duration {
    Duration::from_millis(125 << tries.min(8))
}

fn remove(partial: &Path) -> Result<(), Failure> {
    match fs::remove_file(partial) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::Final(anyhow!("removing {}: {e}", partial.display())))
        }
        _ => Ok(()),
    }
}

fn partial_path(to: &Path) -> PathBuf {
    to.with_file_name(format!("{}.partial", to.file_name().unwrap_or_default().to_string_lossy()))
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with('/') {
        format!("{}{location}", origin(base))
    } else {
        let folder = base.rfind('/').map_or(base, |at| &base[..at]);
        format!("{folder}/{location}")
    }
}

/// First byte and length of the whole: `bytes 5-9/10`.
fn content_range(header: Option<&str>) -> Option<(u64, Option<u64>)> {
    let (range, total) = header?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// The Hub names large files by their SHA-256 and small ones by Git's hash.
fn sha256_of_etag(etag: &str) -> Option<String> {
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
    (etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit())).then_some(etag)
}

/// Of a file, in hexadecimal.
pub fn sha256_of(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).with_context(reading)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if hex.len() != 64 {
        bail!("{}: a hash of {} digits", path.display(), hex.len());
    }
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(origin("http://127.0.0.1:80/a/b"), "http://127.0.0.1:80");
        assert_eq!(origin("https://host?x"), "https://host");
        assert_eq!(absolute("https://h/a/b", "/c"), "https://h/c");
        assert_eq!(absolute("https://h/a/b", "c"), "https://h/a/c");
        assert_eq!(absolute("https://h/a/b", "http://o/c"), "http://o/c");
        assert_eq!(content_range(Some("bytes 5-9/10")), Some((5, Some(10))));
        assert_eq!(content_range(Some("bytes 5-9/*")), Some((5, None)));
        assert_eq!(content_range(Some("5-9")), None);
    }
}
