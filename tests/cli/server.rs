//! A server on loopback that does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// What was asked for.
pub struct Request {
    pub path: String,
    pub range: Option<usize>,
    pub authorization: Option<String>,
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut request = Request { path, range: None, authorization: None };
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.trim().strip_prefix("range: bytes=") {
            request.range = value.trim_end_matches('-').parse().ok();
        }
        if lower.starts_with("authorization:") {
            request.authorization = Some(line["authorization:".len()..].trim().to_owned());
        }
        if line.trim().is_empty() {
            return Some(request);
        }
    }
}

/// Answers on a port of its own; the last argument of `handle` counts the requests.
pub fn serve(handle: impl Fn(Request, &mut TcpStream, usize) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            if let Some(request) = read_request(&stream) {
                handle(request, &mut stream, n);
            }
        }
    });
    port
}

/// Writes an answer, as much of it as the other side takes.
pub fn reply(stream: &mut TcpStream, status: &str, headers: &[String], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    // The reader may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(b"\r\n"));
    let _ = stream.write_all(body);
}
