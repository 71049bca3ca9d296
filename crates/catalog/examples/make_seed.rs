//! Writes `seed/catalog.json` from a copy of models.dev's data and LiteLLM's price map as second source:
//! `cargo run -p catalog --example make_seed -- MODELS_DEV.json LITELLM.json DATE`.
//! It reads local files only.

use anyhow::{Context as _, bail};
use catalog::import::{Against, PriceBook, read_against};
use catalog::seed::{Origin, SeedFile};
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models_dev, litellm, date] = arguments.as_slice() else {
        bail!("give the models.dev file, the LiteLLM file and the date of the first (YYYY-MM-DD)");
    };
    let second = PriceBook::read_litellm(&std::fs::read(litellm).with_context(|| litellm.clone())?)?;
    let bytes = std::fs::read(models_dev).with_context(|| models_dev.clone())?;
    let content = read_against(&bytes, models_dev, Against { live: None, second: Some(&second) })?;
    let origin = Origin {
        source: "models.dev (https://models.dev, https://github.com/anomalyco/models.dev)".to_owned(),
        date: date.clone(),
        license: "MIT".to_owned(),
        license_file: "seed/LICENSE.models-dev".to_owned(),
        compared_with: "LiteLLM model_prices_and_context_window 1.109.1 (MIT), prices only compared"
            .to_owned(),
    };
    let text = serde_json::to_string(&SeedFile { origin, content })?;
    // One row a line: a new seed shows in a diff what it changes.
    let text = text.replace("},{\"slug\"", "},\n{\"slug\"").replace("},{\"model\"", "},\n{\"model\"");
    let text = text.replace("},{\"provider\"", "},\n{\"provider\"") + "\n";
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/catalog.json");
    std::fs::write(&target, text).with_context(|| target.display().to_string())?;
    Ok(())
}
