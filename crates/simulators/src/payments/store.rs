//! Everything the payment simulator remembers, in memory and, when asked, in a file. Objects are kept as
//! the JSON that the API shows; what they mean is decided in `actions`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Beyond this nothing new is created; a development stack never gets there.
const MOST_OBJECTS: usize = 200_000;
const MOST_KEYS: usize = 20_000;

/// A response that was given under an idempotency key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// Method, path and parameters in one text.
    pub(crate) request: String,
    pub(crate) body: Value,
    sequence: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    sequence: u64,
    object: Value,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Store {
    sequence: u64,
    objects: BTreeMap<String, Kept>,
    /// Line items by session, which Stripe shows only when asked.
    line_items: BTreeMap<String, Vec<Value>>,
    /// `payment_intent_data` by session, for the payment to come.
    intent_data: BTreeMap<String, Value>,
    remembered: BTreeMap<String, Remembered>,
    #[serde(skip)]
    file: Option<PathBuf>,
    /// Whether something changed since the last save.
    #[serde(skip)]
    changed: bool,
}

impl Store {
    /// Reads the file if there is one; it will be written on each [`Store::save`].
    pub(crate) fn load(file: Option<PathBuf>) -> io::Result<Self> {
        let mut store = match file.as_deref().map(std::fs::read) {
            Some(Ok(bytes)) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => Self::default(),
        };
        store.file = file;
        Ok(store)
    }

    /// Writes the file if something changed, whole or not at all.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.file.as_ref().filter(|_| self.changed) else { return Ok(()) };
        let partial = path.with_extension("partial");
        let mut file = std::fs::File::create(&partial)?;
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        self.changed = false;
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.objects.len() >= MOST_OBJECTS
    }

    /// Keeps an object under its `id`, new or changed. An object without an id is not kept.
    pub(crate) fn put(&mut self, object: Value) {
        let Some(id) = object.get("id").and_then(Value::as_str).map(str::to_owned) else { return };
        self.changed = true;
        self.sequence += 1;
        let sequence = self.objects.get(&id).map_or(self.sequence, |kept| kept.sequence);
        self.objects.insert(id, Kept { sequence, object });
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Value> {
        self.objects.get(id).map(|kept| &kept.object)
    }

    /// The object with this id, if it is of this kind.
    pub(crate) fn of_kind(&self, kind: &str, id: &str) -> Option<&Value> {
        self.get(id).filter(|object| object.get("object").and_then(Value::as_str) == Some(kind))
    }

    /// All objects of one kind, newest first.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        let mut found: Vec<&Kept> = self
            .objects
            .values()
            .filter(|kept| kept.object.get("object").and_then(Value::as_str) == Some(kind))
            .collect();
        found.sort_by_key(|kept| std::cmp::Reverse(kept.sequence));
        found.into_iter().map(|kept| &kept.object).collect()
    }

    pub(crate) fn put_line_items(&mut self, session: &str, items: Vec<Value>) {
        self.line_items.insert(session.to_owned(), items);
    }

    pub(crate) fn line_items(&self, session: &str) -> &[Value] {
        self.line_items.get(session).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn put_intent_data(&mut self, session: &str, data: Value) {
        self.intent_data.insert(session.to_owned(), data);
    }

    /// `null` when there is none.
    pub(crate) fn intent_data(&self, session: &str) -> Value {
        self.intent_data.get(session).cloned().unwrap_or_default()
    }

    pub(crate) fn remembered(&self, key: &str) -> Option<&Remembered> {
        self.remembered.get(key)
    }

    /// Remembers a response; the oldest is forgotten when there are too many.
    pub(crate) fn remember(&mut self, key: &str, request: String, body: Value) {
        self.changed = true;
        self.sequence += 1;
        let entry = Remembered { request, body, sequence: self.sequence };
        self.remembered.insert(key.to_owned(), entry);
        if self.remembered.len() > MOST_KEYS {
            let oldest =
                self.remembered.iter().min_by_key(|(_, entry)| entry.sequence).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.remembered.remove(&oldest);
            }
        }
    }
}
