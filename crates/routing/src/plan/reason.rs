//! Why endpoints were left out, as data, as words, and as the setting that would bring them back.

/// An endpoint left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub model: String,
    /// The endpoint's tag.
    pub tag: String,
    pub reason: Reason,
}

/// Why an endpoint was left out, each with the setting that would bring it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    NotInOnly,
    Ignored,
    NotInOrder,
    DataCollection,
    Retention,
    /// Nothing says that training on its output is allowed.
    Distillable,
    /// What it serves; `None` is not stated.
    Quantization(Option<String>),
    /// The class whose price is above the limit.
    MaxPrice(&'static str),
    Tools,
    Parameter(String),
    Modality(String),
    /// The prompt tokens for which it has room.
    ContextLength(u32),
    /// The completion tokens it writes at most.
    MaxTokens(u32),
    NoCredential,
}

impl Reason {
    /// A sentence with the setting to change, to follow the endpoint's tag.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::NotInOnly => "is not in provider.only; add it there, or leave provider.only out".to_owned(),
            Self::Ignored => "is in provider.ignore; take it out there".to_owned(),
            Self::NotInOrder => {
                "is not in provider.order; add it there, or set provider.allow_fallbacks to true".to_owned()
            },
            Self::DataCollection => {
                "may train on prompts; set provider.data_collection to allow if it may".to_owned()
            },
            Self::Retention => "keeps prompts; set provider.zdr to false if it may".to_owned(),
            Self::Distillable => {
                "is not known to allow training on its output; set provider.enforce_distillable_text to false if it need not"
                    .to_owned()
            }
            Self::Quantization(Some(has)) => {
                format!("serves {has}; add \"{has}\" to provider.quantizations")
            },
            Self::Quantization(None) => {
                "does not state its quantization; add \"unknown\" to provider.quantizations".to_owned()
            }
            Self::MaxPrice(which) => format!("costs more than provider.max_price.{which}; raise it"),
            Self::Tools => "cannot call tools; leave tools out or choose a model that can".to_owned(),
            Self::Parameter(name) => {
                format!("does not support `{name}`; leave it out, or set provider.require_parameters to false")
            }
            Self::Modality(name) => format!("does not read {name} input; choose a model that does"),
            Self::ContextLength(room) => format!("has room for {room} tokens; shorten the messages"),
            Self::MaxTokens(most) => format!("writes at most {most} tokens; lower max_tokens"),
            Self::NoCredential => "works here only with your own key; add one under Provider keys".to_owned(),
        }
    }

    /// The stable word of `error.availability.excluded_by`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInOnly | Self::Ignored | Self::NotInOrder => "allowed_providers",
            Self::DataCollection => "data_policy:training",
            Self::Retention => "data_policy:zdr",
            Self::Distillable => "distillable",
            Self::Quantization(_) => "quantization",
            Self::MaxPrice(_) => "max_price",
            Self::Tools | Self::Parameter(_) => "require_parameters",
            Self::Modality(_) => "modality",
            Self::ContextLength(_) => "context_length",
            Self::MaxTokens(_) => "max_tokens",
            Self::NoCredential => "credential",
        }
    }

    /// The field of the request (or the place on the site) to change.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::NotInOnly => "provider.only",
            Self::Ignored => "provider.ignore",
            Self::NotInOrder => "provider.allow_fallbacks",
            Self::DataCollection => "provider.data_collection",
            Self::Retention => "provider.zdr",
            Self::Distillable => "provider.enforce_distillable_text",
            Self::Quantization(_) => "provider.quantizations",
            Self::MaxPrice(_) => "provider.max_price",
            Self::Tools => "tools",
            Self::Parameter(_) => "provider.require_parameters",
            Self::Modality(_) | Self::ContextLength(_) => "messages",
            Self::MaxTokens(_) => "max_tokens",
            Self::NoCredential => "provider keys",
        }
    }
}

/// A setting that excluded endpoints, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constraint {
    /// As [`Reason::setting`].
    pub setting: &'static str,
    /// As [`Reason::code`].
    pub code: &'static str,
    pub endpoints: usize,
}

/// Nothing is left: every endpoint with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEndpoints {
    pub excluded: Vec<Exclusion>,
}

impl NoEndpoints {
    /// Names every constraint that excluded something, once each.
    #[must_use]
    pub fn sentence(&self, model: &str) -> String {
        let mut text = format!("No endpoints found for {model} that fit this request.");
        let mut told: Vec<&Reason> = Vec::new();
        for exclusion in &self.excluded {
            if !told.contains(&&exclusion.reason) {
                told.push(&exclusion.reason);
                text.push_str(&format!(" {} {}.", exclusion.tag, exclusion.reason.sentence()));
            }
        }
        text
    }

    /// The settings in the way, the one that excluded most first.
    #[must_use]
    pub fn constraints(&self) -> Vec<Constraint> {
        let mut found: Vec<Constraint> = Vec::new();
        for Exclusion { reason, .. } in &self.excluded {
            match found.iter_mut().find(|constraint| constraint.setting == reason.setting()) {
                Some(constraint) => constraint.endpoints += 1,
                None => {
                    found.push(Constraint { setting: reason.setting(), code: reason.code(), endpoints: 1 });
                }
            }
        }
        found.sort_by_key(|constraint| std::cmp::Reverse(constraint.endpoints));
        found
    }
}
