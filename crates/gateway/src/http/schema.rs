//! Shapes of request bodies for the OpenAPI document. The doors read the bodies by themselves; these types
//! only describe them.

use utoipa::ToSchema;

/// Body of `POST /keys`.
#[derive(ToSchema)]
#[schema(as = CreateKey)]
#[expect(dead_code, reason = "only described, never built")]
pub struct CreateKeyBody {
    /// Shown in lists.
    name: String,
    /// Spending limit in dollars; none when absent.
    limit: Option<f64>,
    /// `daily`, `weekly`, `monthly`, or null for a total.
    limit_reset: Option<String>,
    include_byok_in_limit: Option<bool>,
    /// RFC 3339.
    expires_at: Option<String>,
}

/// Body of `PATCH /keys/{hash}`; what is absent stays as it is.
#[derive(ToSchema)]
#[schema(as = ChangeKey)]
#[expect(dead_code, reason = "only described, never built")]
pub struct ChangeKeyBody {
    name: Option<String>,
    disabled: Option<bool>,
    /// Dollars; null removes the limit.
    limit: Option<f64>,
    limit_reset: Option<String>,
    include_byok_in_limit: Option<bool>,
}

/// Body of `PUT /limits/{scope}`.
#[derive(ToSchema)]
#[schema(as = SetLimit)]
#[expect(dead_code, reason = "only described, never built")]
pub struct SetLimitBody {
    /// Dollars; null removes the limit.
    limit: Option<f64>,
    /// `daily`, `weekly`, `monthly`, or null for a total.
    limit_reset: Option<String>,
}

/// Body of `POST /chat/completions`: OpenAI's, with OpenRouter's additions. Other fields go to the provider.
#[derive(ToSchema)]
#[schema(as = ChatRequest)]
#[expect(dead_code, reason = "only described, never built")]
pub struct ChatBody {
    /// `author/slug`, with `:floor` or `:nitro` where wanted.
    model: String,
    /// Tried in order when `model` fails.
    models: Option<Vec<String>>,
    /// OpenAI's messages.
    messages: Vec<Object>,
    /// Server-sent events instead of one JSON answer.
    stream: Option<bool>,
    /// Per choice. Without it as much as the credits cover, up to the model's maximum.
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop: Option<Vec<String>>,
    seed: Option<i64>,
    tools: Option<Vec<Object>>,
    tool_choice: Option<Object>,
    response_format: Option<Object>,
    reasoning: Option<Object>,
    /// `order`, `only`, `ignore`, `sort`, `allow_fallbacks`, `require_parameters`, `max_price`, …
    provider: Option<Object>,
}

/// Any JSON object.
#[derive(ToSchema)]
pub struct Object {}
