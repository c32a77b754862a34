//! The tray icon: a StatusNotifierItem that displays [`view::tray`](crate::view::tray). On desktops without a tray
//! only the window is available. A tray that appears later finds the item by itself.

use async_channel::Sender;
use ksni::{
    Handle, TrayMethods as _,
    menu::{CheckmarkItem, MenuItem, StandardItem, SubMenu},
};
use tokio::runtime::Runtime;

use crate::{
    APP_ID,
    view::tray::{Item, Tray as View, TrayAction},
};

/// The tray icon. It disappears when dropped.
pub(crate) struct Tray {
    runtime: Runtime,
    handle: Handle<StatusItem>,
}

impl std::fmt::Debug for Tray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tray")
    }
}

/// An event of the tray.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TrayEvent {
    /// The user has chosen this menu item.
    Action(TrayAction),
    /// Whether a tray displays the icon.
    Shown(bool),
}

#[derive(Debug)]
struct StatusItem {
    view: View,
    events: Sender<TrayEvent>,
}

impl Tray {
    /// Shows the icon. Its events are sent to `events`.
    ///
    /// # Errors
    ///
    /// There is no session bus.
    pub(crate) fn show(view: View, events: Sender<TrayEvent>) -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let icon = StatusItem { view, events };
        // A missing tray is no error: the library waits for one.
        let handle = runtime.block_on(icon.assume_sni_available(true).spawn())?;
        Ok(Self { runtime, handle })
    }

    /// Displays a new view.
    pub(crate) fn update(&self, view: View) {
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

impl ksni::Tray for StatusItem {
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
        self.send(TrayEvent::Action(TrayAction::Open));
    }

    fn watcher_online(&self) {
        self.send(TrayEvent::Shown(true));
    }

    fn watcher_offline(&self, _reason: ksni::OfflineReason) -> bool {
        self.send(TrayEvent::Shown(false));
        // Keep the item: another tray may appear.
        true
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        self.view.menu.iter().map(item).collect()
    }
}

fn item(item: &Item) -> MenuItem<StatusItem> {
    match item {
        Item::Text(label) => StandardItem { label: escape(label), enabled: false, ..StandardItem::default() }.into(),
        Item::Button(label, action) => {
            let action = action.clone();
            StandardItem {
                label: escape(label),
                activate: Box::new(move |icon: &mut StatusItem| icon.send(TrayEvent::Action(action.clone()))),
                ..StandardItem::default()
            }
            .into()
        }
        Item::Check(label, checked, action) => {
            let action = action.clone();
            CheckmarkItem {
                label: escape(label),
                checked: *checked,
                activate: Box::new(move |icon: &mut StatusItem| icon.send(TrayEvent::Action(action.clone()))),
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

/// Escapes underscores, which mark mnemonics in menus.
fn escape(label: &str) -> String {
    label.replace('_', "__")
}

impl StatusItem {
    fn send(&self, event: TrayEvent) {
        if self.events.try_send(event).is_err() {
            tracing::warn!("tray event dropped: the app is busy");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_in_menu_labels_are_escaped() {
        let MenuItem::SubMenu(menu) = item(&Item::Menu("git_lab".into(), vec![Item::Text("a_b".into())])) else {
            panic!()
        };
        assert_eq!(menu.label, "git__lab");
        let MenuItem::Standard(line) = &menu.submenu[0] else { panic!() };
        assert_eq!((line.label.as_str(), line.enabled), ("a__b", false));
    }
}
