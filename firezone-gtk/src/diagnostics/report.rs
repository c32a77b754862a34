//! The report window: displays the complete report before it is saved.

use adw::{prelude::*, subclass::prelude::*};
use gettextrs::gettext;
use gtk::{gio, glib};

/// The suggested file name.
const FILE_NAME: &str = "firezone-report.json";

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(resource = "/dev/firezone/Gtk/ui/report.ui")]
    pub struct ReportWindow {
        #[template_child]
        pub(super) text: TemplateChild<gtk::TextView>,
        #[template_child]
        pub(super) save: TemplateChild<gtk::Button>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ReportWindow {
        const NAME: &'static str = "FirezoneReport";
        type Type = super::ReportWindow;
        type ParentType = adw::Window;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for ReportWindow {
        fn constructed(&self) {
            self.parent_constructed();
            let window = self.obj().downgrade();
            self.save.connect_clicked(move |_| {
                if let Some(window) = window.upgrade() {
                    window.choose_file();
                }
            });
        }
    }
    impl WidgetImpl for ReportWindow {}
    impl WindowImpl for ReportWindow {}
    impl AdwWindowImpl for ReportWindow {}
}

glib::wrapper! {
    /// The report window.
    pub struct ReportWindow(ObjectSubclass<imp::ReportWindow>)
        @extends adw::Window, gtk::Window, gtk::Widget,
        @implements gio::ActionGroup, gio::ActionMap, gtk::Buildable, gtk::ConstraintTarget,
                    gtk::Native, gtk::Root, gtk::ShortcutManager;
}

impl ReportWindow {
    /// The window with this report.
    #[must_use]
    pub fn new(app: &adw::Application, parent: Option<&gtk::Window>, text: &str) -> Self {
        let this: Self = glib::Object::builder().property("application", app).property("transient-for", parent).build();
        this.imp().text.buffer().set_text(text);
        crate::accessible::name_containers(&this, &this.title().unwrap_or_default());
        this
    }

    fn choose_file(&self) {
        let dialog = gtk::FileChooserNative::new(
            Some(&gettext("Save Report")),
            Some(self),
            gtk::FileChooserAction::Save,
            Some(&gettext("_Save")),
            Some(&gettext("_Cancel")),
        );
        dialog.set_current_name(FILE_NAME);
        let window = self.downgrade();
        glib::spawn_future_local(async move {
            let answer = dialog.run_future().await;
            let (Some(window), Some(file)) = (window.upgrade(), dialog.file()) else { return };
            if answer == gtk::ResponseType::Accept {
                window.save(&file).await;
            }
        });
    }

    /// Writes the whole report, or leaves an existing file unchanged.
    async fn save(&self, file: &gio::File) {
        let buffer = self.imp().text.buffer();
        let text = buffer.text(&buffer.start_iter(), &buffer.end_iter(), false).to_string();
        let flags = gio::FileCreateFlags::REPLACE_DESTINATION | gio::FileCreateFlags::PRIVATE;
        match file.replace_contents_future(text, None, false, flags).await {
            Ok(_) => self.close(),
            Err((_, error)) => {
                tracing::info!("the report is not saved: {error}");
                let dialog = adw::MessageDialog::new(
                    Some(self),
                    Some(&gettext("Report Not Saved")),
                    Some(&gettext("Choose another location.")),
                );
                dialog.add_response("close", &gettext("_Close"));
                dialog.present();
            }
        }
    }
}
