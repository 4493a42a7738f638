//! What the nnsight client does on the wire, without what it costs in Python.

use std::net::TcpStream;

use serde_json::Value as Json;
use tests::http::{self, Answer};
use tungstenite::client::IntoClientRequest;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, connect};

/// One user of a server.
pub struct Client<'a> {
    pub url: &'a str,
    pub key: &'a str,
}

/// A websocket that waits for one job.
pub struct Socket {
    stream: WebSocket<MaybeTlsStream<TcpStream>>,
    /// What the request must name.
    pub session: String,
}

impl Client<'_> {
    /// Opens a websocket.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn subscribe(&self) -> Socket {
        let mut request = format!("{}/subscribe", self.url.replace("http", "ws")).into_client_request().unwrap();
        request.headers_mut().insert("ndif-api-key", self.key.parse().unwrap());
        let (mut stream, _) = connect(request).unwrap();
        let hello: Json = serde_json::from_str(stream.read().unwrap().to_text().unwrap()).unwrap();
        Socket { stream, session: hello["session_id"].as_str().unwrap().to_owned() }
    }

    /// Posts a request, whatever the server says to it.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn post(&self, fields: &Json, payload: &[u8]) -> Answer {
        let (header, body) = http::form(&[("data", fields.to_string().as_bytes()), ("blob", payload)]);
        http::ask(self.url, "POST", "/request", &[&header, &format!("ndif-api-key: {}", self.key)], &body)
    }
}

impl Socket {
    /// Waits for the next frame that says something.
    ///
    /// # Panics
    /// When the websocket breaks.
    pub fn read(&mut self) -> Message {
        loop {
            match self.stream.read().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub fn close(mut self) {
        // The server may have closed it first.
        let _ = self.stream.close(None);
    }
}
