//! Files with secrets, mounted as Kubernetes does it: what is read are links through `..data`, and a new
//! version is a new folder that `..data` is turned to at once.

use super::World;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use uuid::Uuid;

pub struct Mounted(PathBuf);

impl Mounted {
    /// In place of the variables of these secrets, each with its value.
    pub fn of(world: &mut World, secrets: &[(&str, &str)]) -> Self {
        let mounted = Self(std::env::temp_dir().join(format!("jenius-pay-secrets-{}", world.unique())));
        fs::create_dir(&mounted.0).unwrap();
        for (variable, _) in secrets {
            symlink(Path::new("..data").join(variable), mounted.0.join(variable)).unwrap();
            world.settings.remove(*variable);
            let file = mounted.0.join(variable).to_str().unwrap().to_owned();
            world.settings.insert(format!("{variable}_FILE"), file);
        }
        mounted.renew(secrets);
        mounted
    }

    /// A new version of all of them; one that is left out is gone.
    pub fn renew(&self, secrets: &[(&str, &str)]) {
        let version = format!("..{}", Uuid::new_v4().simple());
        fs::create_dir(self.0.join(&version)).unwrap();
        for (variable, text) in secrets {
            fs::write(self.0.join(&version).join(variable), format!("{text}\n")).unwrap();
        }
        symlink(&version, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
