//! Lists with Stripe's paging and filters, and `expand`. Read-only.

use serde_json::{Value, json};

use super::failure::Failure;
use super::form::Params;
use super::store::Store;

const MOST_PER_PAGE: i64 = 100;
const DEEPEST_EXPANSION: usize = 4;
/// Filters by equality, where an object has the field.
const FILTERS: [&str; 8] =
    ["charge", "customer", "payment_intent", "status", "type", "source", "email", "currency"];

/// One page of the objects of a kind, newest first. `url` is the list's own path.
pub(crate) fn page(store: &Store, kind: &str, url: &str, params: &Params) -> Result<Value, Failure> {
    let limit = params.integer("/limit")?.unwrap_or(10);
    if !(1..=MOST_PER_PAGE).contains(&limit) {
        let message = "This value must be between 1 and 100.";
        return Err(Failure::parameter("parameter_invalid_integer", "limit", message));
    }
    let limit = usize::try_from(limit).map_err(|error| Failure::internal(error.to_string()))?;
    let mut found = store.all(kind);
    let bounds = ["gt", "gte", "lt", "lte"].map(|bound| params.integer(&format!("/created/{bound}")));
    let [above, from, below, to] = bounds;
    let (above, from, below, to) = (above?, from?, below?, to?);
    let types = params.texts("/types");
    found.retain(|object| {
        let created = object.get("created").and_then(Value::as_i64).unwrap_or_default();
        let in_time = above.is_none_or(|at| created > at)
            && from.is_none_or(|at| created >= at)
            && below.is_none_or(|at| created < at)
            && to.is_none_or(|at| created <= at);
        let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
        in_time && fits(object, params) && (types.is_empty() || types.iter().any(|wanted| wanted == kind))
    });
    let id = |object: &Value| object.get("id").and_then(Value::as_str).map(str::to_owned);
    if let Some(after) = params.text("/starting_after") {
        let at = found.iter().position(|object| id(object).as_deref() == Some(after));
        found = found.into_iter().skip(at.ok_or_else(|| Failure::no_such(kind, after))? + 1).collect();
    }
    if let Some(before) = params.text("/ending_before") {
        let at = found.iter().position(|object| id(object).as_deref() == Some(before));
        let at = at.ok_or_else(|| Failure::no_such(kind, before))?;
        found.truncate(at);
        found = found.into_iter().skip(at.saturating_sub(limit)).collect();
    }
    let has_more = found.len() > limit;
    let data: Vec<Value> = found.into_iter().take(limit).cloned().collect();
    Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
}

fn fits(object: &Value, params: &Params) -> bool {
    FILTERS.iter().all(|field| {
        let wanted = params.text(&format!("/{field}"));
        wanted.is_none_or(|wanted| object.get(*field).and_then(Value::as_str) == Some(wanted))
    })
}

/// A list of a session's lines, as an object shows it.
pub(crate) fn lines(store: &Store, session: &str) -> Value {
    json!({
        "object": "list", "has_more": false, "data": store.line_items(session),
        "url": format!("/v1/checkout/sessions/{session}/line_items"),
    })
}

/// Replaces ids by the objects they name, for each wanted path such as `payment_intent.latest_charge`.
pub(crate) fn expand(store: &Store, value: &mut Value, params: &Params) -> Result<(), Failure> {
    for path in params.texts("/expand") {
        let steps: Vec<&str> = path.split('.').collect();
        if steps.len() > DEEPEST_EXPANSION {
            return Err(Failure::invalid(format!(
                "You cannot expand more than 4 levels of a property: {path}."
            )));
        }
        if !expand_path(store, value, &steps) {
            return Err(Failure::invalid(format!("This property cannot be expanded ({path}).")));
        }
    }
    Ok(())
}

/// False when the path names nothing that can be expanded.
fn expand_path(store: &Store, value: &mut Value, steps: &[&str]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    if let (Some(items), "data") = (value.get_mut("data").and_then(Value::as_array_mut), *step) {
        return items.iter_mut().all(|item| expand_path(store, item, rest));
    }
    let session = value.get("id").and_then(Value::as_str).map(str::to_owned);
    let kind = value.get("object").and_then(Value::as_str).map(str::to_owned);
    let Some(object) = value.as_object_mut() else { return false };
    if *step == "line_items" && kind.as_deref() == Some("checkout.session") {
        object.insert("line_items".to_owned(), lines(store, &session.unwrap_or_default()));
        return true;
    }
    let Some(field) = object.get_mut(*step) else { return false };
    if let Some(named) = field.as_str().and_then(|id| store.get(id)) {
        *field = named.clone();
    }
    match field {
        // An empty reference stays empty; there is nothing below it.
        Value::Null => true,
        Value::Object(_) => expand_path(store, field, rest),
        _ => rest.is_empty(),
    }
}
