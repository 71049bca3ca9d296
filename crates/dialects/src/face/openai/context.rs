//! What every chunk and reply of one generation says about itself.

use crate::json::ObjectWriter;
use std::cell::OnceCell;

/// Identity of an answer, with the common beginning of its chunks made once.
#[derive(Debug, Clone)]
pub struct FaceContext {
    id: String,
    /// Unix seconds.
    created: i64,
    model: String,
    provider: String,
    strict: bool,
    exclude_reasoning: bool,
    /// `data: {"id":…,"choices":`, without the choices. Made when it is first needed: whole answers never
    /// need it.
    head: OnceCell<Vec<u8>>,
}

impl FaceContext {
    /// `id` is our generation id, `model` our slug, `provider` the display name of who answered.
    #[must_use]
    pub fn new(id: &str, created: i64, model: &str, provider: &str) -> Self {
        let (id, model, provider) = (id.to_owned(), model.to_owned(), provider.to_owned());
        let head = OnceCell::new();
        Self { id, created, model, provider, strict: false, exclude_reasoning: false, head }
    }

    /// Only OpenAI's fields and values (`X-Farebox-Strict: openai`).
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self.head = OnceCell::new();
        self
    }

    /// Leaves reasoning out of the answer (`reasoning.exclude`). It is billed all the same.
    #[must_use]
    pub fn exclude_reasoning(mut self, exclude: bool) -> Self {
        self.exclude_reasoning = exclude;
        self
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    pub(super) fn hides_reasoning(&self) -> bool {
        self.strict || self.exclude_reasoning
    }

    pub(super) fn head(&self) -> &[u8] {
        self.head.get_or_init(|| self.chunk_head())
    }

    /// The members that stand first in every object of this face.
    pub(super) fn open(&self, object: &str, out: Vec<u8>) -> ObjectWriter {
        let mut writer = ObjectWriter::open(out);
        writer.value("id", &self.id);
        writer.value("object", object);
        writer.value("created", &self.created);
        writer.value("model", &self.model);
        if !self.strict {
            writer.value("provider", &self.provider);
        }
        writer
    }

    fn chunk_head(&self) -> Vec<u8> {
        let mut writer = self.open("chat.completion.chunk", b"data: ".to_vec());
        // Ends behind the colon: the choices follow.
        writer.with("choices", |bytes| bytes);
        writer.into_bytes()
    }
}
