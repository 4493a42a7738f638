//! A provider that tests play: it signs whatever it is told to, changes its keys, and goes away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Settings, unix_seconds};

/// A provider on a port of this machine.
pub struct Issuer {
    pub url: String,
    played: Arc<Mutex<Played>>,
}

struct Played {
    url: String,
    key: EncodingKey,
    number: u32,
    mood: Mood,
    asked: HashMap<String, usize>,
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// With an error.
    Broken,
    /// Never.
    Silent,
}

impl Issuer {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (key, asked) = (key(), HashMap::new());
        let played = Played { url: url.clone(), key, number: 1, mood: Mood::Well, asked };
        let played = Arc::new(Mutex::new(played));
        let shared = Arc::clone(&played);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let played = Arc::clone(&shared);
                tokio::spawn(async move { answer(&played, stream).await });
            }
        });
        Self { url, played }
    }

    /// Returns settings that know it, with tenants and roles by their own names.
    pub fn settings(&self) -> Settings {
        Settings { issuer: Some(self.url.clone()), client_id: Some("vitrine".into()), ..Settings::default() }
    }

    /// Says how it answers from now on.
    pub fn be(&self, mood: Mood) {
        self.played.lock().unwrap().mood = mood;
    }

    /// Signs with another key from now on, and publishes no other.
    pub fn new_key(&self) {
        let mut played = self.played.lock().unwrap();
        (played.key, played.number) = (key(), played.number + 1);
    }

    /// Returns how often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.played.lock().unwrap().asked.get(path).copied().unwrap_or(0)
    }

    /// Makes a token that says what `claims` say beside, or instead of, what it has to.
    pub fn token(&self, claims: Value) -> String {
        let played = self.played.lock().unwrap();
        self.signed(&played.key, &format!("key-{}", played.number), claims)
    }

    /// The same under another name of its key.
    pub fn token_of(&self, name: &str, claims: Value) -> String {
        self.signed(&self.played.lock().unwrap().key, name, claims)
    }

    /// The same, signed by somebody else in this one's name.
    pub fn forged(&self, claims: Value) -> String {
        let name = format!("key-{}", self.played.lock().unwrap().number);
        self.signed(&key(), &name, claims)
    }

    fn signed(&self, key: &EncodingKey, name: &str, claims: Value) -> String {
        let mut all = json!({
            "iss": self.url, "aud": "vitrine", "exp": unix_seconds() + 3600,
            "sub": "ada", "tenant": "ada", "roles": ["researcher"],
        });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let head = Header { kid: Some(name.into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&head, &all, key).unwrap()
    }
}

fn key() -> EncodingKey {
    EncodingKey::from_ec_der(&rcgen::KeyPair::generate().unwrap().serialize_der())
}

/// Answers one request, and closes.
async fn answer(played: &Mutex<Played>, mut stream: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let path = String::from_utf8(head).ok()?.split(' ').nth(1)?.to_owned();
    let (mood, body) = {
        let mut played = played.lock().unwrap();
        *played.asked.entry(path.clone()).or_default() += 1;
        (played.mood, played.says(&path))
    };
    let status = match mood {
        Mood::Well => "200 OK",
        Mood::Broken => "500 Internal Server Error",
        Mood::Silent => return std::future::pending().await,
    };
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.ok()
}

impl Played {
    fn says(&self, path: &str) -> String {
        if path == "/.well-known/openid-configuration" {
            return json!({ "issuer": self.url, "jwks_uri": format!("{}/keys", self.url) }).to_string();
        }
        let mut key = serde_json::to_value(Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap()).unwrap();
        key["kid"] = format!("key-{}", self.number).into();
        json!({ "keys": [key] }).to_string()
    }
}
