//! The paper's recipe, one value changed, as TOML.

use byol_train::{SpecBuilder, TrainError};

fn main() -> Result<(), TrainError> {
    let spec = SpecBuilder::preset("paper-1000")?.set("policy.ops.blur.p=0.5")?.build()?;
    println!("{spec:#?}");
    Ok(())
}
