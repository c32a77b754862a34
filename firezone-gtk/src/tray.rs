//! The tray: a StatusNotifierItem made of [`view::tray`](crate::view::tray). Where nobody shows such items, the window is
//! all there is, and a tray that appears later finds us by itself.

use async_channel::Sender;
use ksni::{
    Handle, TrayMethods as _,
    menu::{CheckmarkItem, MenuItem, StandardItem, SubMenu},
};
use tokio::runtime::Runtime;

use crate::{
    APP_ID,
    view::tray::{Act, Item, Tray as View},
};

/// The item in the tray. It leaves the tray when dropped.
pub struct Tray {
    runtime: Runtime,
    handle: Handle<Icon>,
}

impl std::fmt::Debug for Tray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tray")
    }
}

/// What the tray tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromTray {
    /// Somebody chose this.
    Act(Act),
    /// Whether somebody shows the item.
    Shown(bool),
}

#[derive(Debug)]
struct Icon {
    view: View,
    to_app: Sender<FromTray>,
}

impl Tray {
    /// Shows the item. What people choose goes to `to_app`.
    ///
    /// # Errors
    ///
    /// There is no session bus.
    pub fn show(view: View, to_app: Sender<FromTray>) -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let icon = Icon { view, to_app };
        // Nobody to show it is no error: the library waits for somebody.
        let handle = runtime.block_on(icon.assume_sni_available(true).spawn())?;
        Ok(Self { runtime, handle })
    }

    /// Shows something else.
    pub fn update(&self, view: View) {
        let handle = self.handle.clone();
        self.runtime.spawn(async move {
            handle
                .update(|icon| {
                    icon.view = view;
                })
                .await
        });
    }
}

impl ksni::Tray for Icon {
    fn id(&self) -> String {
        APP_ID.to_owned()
    }

    fn category(&self) -> ksni::Category {
        ksni::Category::Communications
    }

    fn title(&self) -> String {
        format!("Firezone: {}", self.view.title)
    }

    fn icon_name(&self) -> String {
        self.view.icon.to_owned()
    }

    fn tool_tip(&self) -> ksni::ToolTip {
        ksni::ToolTip { title: self.title(), ..ksni::ToolTip::default() }
    }

    fn activate(&mut self, _x: i32, _y: i32) {
        self.send(FromTray::Act(Act::Open));
    }

    fn watcher_online(&self) {
        self.send(FromTray::Shown(true));
    }

    fn watcher_offline(&self, _reason: ksni::OfflineReason) -> bool {
        self.send(FromTray::Shown(false));
        // Another tray may come.
        true
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        self.view.menu.iter().map(item).collect()
    }
}

fn item(item: &Item) -> MenuItem<Icon> {
    match item {
        Item::Text(label) => StandardItem { label: escape(label), enabled: false, ..StandardItem::default() }.into(),
        Item::Button(label, act) => {
            let act = act.clone();
            StandardItem {
                label: escape(label),
                activate: Box::new(move |icon: &mut Icon| icon.send(FromTray::Act(act.clone()))),
                ..StandardItem::default()
            }
            .into()
        }
        Item::Check(label, checked, act) => {
            let act = act.clone();
            CheckmarkItem {
                label: escape(label),
                checked: *checked,
                activate: Box::new(move |icon: &mut Icon| icon.send(FromTray::Act(act.clone()))),
                ..CheckmarkItem::default()
            }
            .into()
        }
        Item::Menu(label, items) => {
            SubMenu { label: escape(label), submenu: items.iter().map(self::item).collect(), ..SubMenu::default() }
                .into()
        }
        Item::Separator => MenuItem::Separator,
    }
}

/// Menus take an underscore for the mark of a key.
fn escape(label: &str) -> String {
    label.replace('_', "__")
}

impl Icon {
    fn send(&self, news: FromTray) {
        if self.to_app.try_send(news).is_err() {
            tracing::warn!("the app does not keep up with the tray");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_in_names_are_shown() {
        let MenuItem::SubMenu(menu) = item(&Item::Menu("git_lab".into(), vec![Item::Text("a_b".into())])) else {
            panic!()
        };
        assert_eq!(menu.label, "git__lab");
        let MenuItem::Standard(line) = &menu.submenu[0] else { panic!() };
        assert_eq!((line.label.as_str(), line.enabled), ("a__b", false));
    }
}
