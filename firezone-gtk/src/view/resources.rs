//! Rows of the resource list.

use dbus_api::{Resource, ResourceKind, ResourceStatus};
use gettextrs::gettext;
use url::Url;

use crate::{model::Model, strings};

/// One resource, as displayed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its DNS name or network.
    pub address: String,
    /// Its kind, in words.
    pub kind: String,
    /// The administrator's description of the address, if it is not a link.
    pub description: String,
    /// A link to open it, or empty.
    pub link: String,
    /// Its site, or empty.
    pub site: String,
    /// Its status, for icon and style.
    pub status: ResourceStatus,
    /// Its status, in words.
    pub status_text: String,
    /// Its path, direct or through a relay, in words; empty if not known.
    pub path: String,
    /// Whether it is a favourite.
    pub is_favourite: bool,
}

impl Row {
    /// The text that a search is matched against. It is prepared once, so that each key press is cheap.
    #[must_use]
    pub fn key(&self) -> String {
        // A search text contains no line break, so it never matches across two fields.
        [&self.name, &self.address, &self.description, &self.site].map(String::as_str).join("\n").to_lowercase()
    }
}

/// A search text, normalized like [`Row::key`].
#[must_use]
pub fn needle(typed: &str) -> String {
    typed.trim().to_lowercase()
}

/// The Internet resource, if there is one.
#[must_use]
pub fn internet(model: &Model) -> Option<Row> {
    model.resources.iter().find(|it| it.kind == ResourceKind::Internet).map(|it| row(model, it))
}

/// All other resources: favourites first, otherwise in the daemon's order.
#[must_use]
pub fn rows(model: &Model) -> Vec<Row> {
    let mut rows: Vec<Row> =
        model.resources.iter().filter(|it| it.kind != ResourceKind::Internet).map(|it| row(model, it)).collect();
    rows.sort_by_key(|row| !row.is_favourite);
    rows
}

fn row(model: &Model, resource: &Resource) -> Row {
    let description = resource.address_description.as_deref().map(str::trim).unwrap_or_default();
    let link = link(description).unwrap_or_default();
    Row {
        id: resource.id.clone(),
        name: if resource.kind == ResourceKind::Internet { gettext("Internet") } else { resource.name.clone() },
        address: resource.address.clone().unwrap_or_default(),
        kind: strings::kind(&resource.kind),
        description: if link.is_empty() { description.to_owned() } else { String::new() },
        link,
        site: resource.sites.first().cloned().unwrap_or_default(),
        status: resource.status.clone(),
        status_text: strings::status(&resource.status),
        path: match model.paths.get(&resource.sites) {
            Some(path) if resource.status == ResourceStatus::Online => strings::path(path),
            _ => String::new(),
        },
        is_favourite: model.favourites.contains(&resource.id),
    }
}

/// A description that is a web link. Other schemes would let the portal start other programs.
pub(crate) fn link(description: &str) -> Option<String> {
    let url = Url::parse(description).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| url.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn dns(id: &str, name: &str) -> Resource {
        Resource {
            id: id.into(),
            kind: "dns".into(),
            name: name.into(),
            address: Some(format!("{name}.example")),
            sites: vec!["Berlin".into()],
            status: "online".into(),
            ..Resource::default()
        }
    }

    fn model(resources: Vec<Resource>) -> Model {
        Model { resources, ..Model::default() }
    }

    #[test]
    fn favourites_come_first_and_the_rest_keeps_its_order() {
        let mut model = model(vec![dns("1", "a"), dns("2", "b"), dns("3", "c")]);
        model.toggle_favourite("3");
        model.toggle_favourite("not in the list");
        let names: Vec<_> = rows(&model).into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["c", "a", "b"]);
    }

    #[test]
    fn internet_resource_is_not_a_row() {
        let internet_resource = Resource { kind: ResourceKind::Internet, id: "i".into(), ..Resource::default() };
        let model = model(vec![internet_resource, dns("1", "a")]);
        assert_eq!(rows(&model).len(), 1);
        assert_eq!(internet(&model).unwrap().name, "Internet");
    }

    #[test]
    fn description_is_a_link_only_for_web_schemes() {
        for (description, is_link) in [
            ("https://wiki.example/", true),
            ("http://10.0.0.1:8080", true),
            ("ask Kim first", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            ("mailto:kim@example.net", false),
            ("", false),
        ] {
            let resource = Resource { address_description: Some(description.into()), ..dns("1", "a") };
            let row = rows(&model(vec![resource])).remove(0);
            assert_eq!(!row.link.is_empty(), is_link, "{description}");
            assert_eq!(row.description, if is_link { "" } else { description });
        }
    }

    #[test]
    fn path_is_shown_in_words_while_the_site_is_online() {
        let berlin = || vec!["Berlin".to_owned()];
        for (status, path, expected) in [
            ("online", "direct", "Connected directly"),
            ("online", "relayed", "Connected through a relay"),
            ("offline", "direct", ""),
        ] {
            let resource = Resource { status: status.into(), ..dns("1", "a") };
            let model = Model { paths: [(berlin(), path.into())].into(), ..model(vec![resource]) };
            assert_eq!(rows(&model).remove(0).path, expected, "{status} {path}");
        }
    }

    #[test]
    fn search_matches_all_displayed_fields() {
        let row = rows(&model(vec![dns("1", "Wiki")])).remove(0);
        for (needle, found) in [("", true), ("wIkI", true), (" .EXAMPLE ", true), ("berlin", true), ("munich", false)] {
            assert_eq!(row.key().contains(&super::needle(needle)), found, "{needle}");
        }
    }
}
