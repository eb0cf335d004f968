//! The JSON face of documents.

use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::{Binary, Json},
};

use super::{BillingDetails, Document, Invoicing};
use crate::{
    accounts::{
        Scope,
        guard::{AsFan, AsStaff, Reader, reach},
    },
    app::App,
    festivals::api::of_staff,
    http::{
        listing::{before, fifty},
        problem::{Changing, NOT_FOUND, Or, Problem, Usual},
        tags::Chapter,
    },
    id::{DocumentId, FestivalId, OrderId},
    orders::api::{of_fan, readable},
    page::{MOST, Page},
    words::Language,
};

/// How a festival writes invoices now.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct InvoicingInForce {
    /// How; none where it writes none.
    pub invoicing: Option<Invoicing>,
}

/// Who the invoice of an order is for.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Billing {
    /// As its buyer said; none where they said nothing.
    pub details: Option<BillingDetails>,
}

/// A document as it is printed.
#[derive(ApiResponse)]
pub enum Printed {
    /// The document, tagged, with its fonts.
    #[oai(status = 200, content_type = "application/pdf")]
    Pdf(Binary<Vec<u8>>, #[oai(header = "Content-Disposition")] String, #[oai(header = "Cache-Control")] String),
}

/// Prints a document of an order in a language.
///
/// # Errors
/// A problem `not-found`, or `internal` when it cannot be printed.
pub async fn printed(app: &App, order: OrderId, id: DocumentId, language: Language) -> Result<(String, Vec<u8>), Problem> {
    let document = super::document(&app.pools.web, id).await?.filter(|document| document.order_id == order).ok_or_else(|| NOT_FOUND.problem())?;
    let pdf = super::pdf(app, &document, language).await?.ok_or_else(|| Problem::internal("a document cannot be printed"))?;
    Ok((format!("inline; filename=\"{}.pdf\"", document.full_number), pdf))
}

/// Invoices and credit notes.
pub struct DocumentsApi;

#[OpenApi(prefix_path = "/v1", tag = "Chapter::Buying")]
impl DocumentsApi {
    /// Look at how a festival writes invoices
    ///
    /// Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/invoicing", method = "get", operation_id = "show_invoicing")]
    async fn show_invoicing(&self, AsStaff(staff): AsStaff, app: Data<&App>, festival_id: Path<FestivalId>) -> Result<Json<InvoicingInForce>, Or<Usual>> {
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        Ok(Json(InvoicingInForce { invoicing: super::invoicing(&mut tx, *festival_id).await? }))
    }

    /// Say how a festival writes invoices
    ///
    /// For orders that are paid from now on; a document that is numbered stays as it is. Setting it again changes nothing. Scope `money:write`.
    #[oai(path = "/festivals/:festival_id/invoicing", method = "put", operation_id = "set_invoicing")]
    async fn set_invoicing(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        body: Json<Invoicing>,
    ) -> Result<Json<Invoicing>, Or<Changing>> {
        staff.may(Scope::MoneyWrite)?;
        reach(&staff, *festival_id)?;
        super::set_invoicing(&app, &staff, *festival_id, &body).await?;
        Ok(body)
    }

    /// Look at who the invoice of an order is for
    ///
    /// By its secret, or by its promoter with the scope `orders:read`.
    #[oai(path = "/orders/:order_id/billing", method = "get", operation_id = "show_billing")]
    async fn show_billing(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Billing>, Or<Usual>> {
        readable(&app, &who, *order_id).await?;
        let mut conn = app.pools.web.acquire().await?;
        Ok(Json(Billing { details: super::billing(&mut conn, *order_id).await? }))
    }

    /// Say who the invoice of an order is for
    ///
    /// Before it is paid or after it, until the invoice is numbered: 409 then. Where the festival writes invoices on request this is the request. 409, too,
    /// where the order costs nothing or is over, or the festival writes none. Saying it again changes nothing.
    #[oai(path = "/orders/:order_id/billing", method = "put", operation_id = "set_billing")]
    async fn set_billing(
        &self,
        AsFan(secret): AsFan,
        app: Data<&App>,
        order_id: Path<OrderId>,
        body: Json<BillingDetails>,
    ) -> Result<Json<BillingDetails>, Or<Changing>> {
        of_fan(&app, &secret, *order_id).await?;
        Ok(Json(super::bill(&app, *order_id, body.0).await?))
    }

    /// List the documents of an order
    ///
    /// Invoice and credit notes, oldest first; none before it is paid, and some seconds after. By its secret, or by its promoter with the scope
    /// `orders:read`.
    #[oai(path = "/orders/:order_id/documents", method = "get", operation_id = "list_documents")]
    async fn list_documents(&self, who: Reader, app: Data<&App>, order_id: Path<OrderId>) -> Result<Json<Page<Document>>, Or<Usual>> {
        readable(&app, &who, *order_id).await?;
        Ok(Json(Page { items: super::of_order(&app.pools.web, *order_id).await?, next: None }))
    }

    /// Print a document
    ///
    /// As PDF, in the language of the order where none is named. By the secret of its order, or by its promoter with the scope `orders:read`.
    #[oai(path = "/orders/:order_id/documents/:document_id/document.pdf", method = "get", operation_id = "print_document")]
    async fn print_document(
        &self,
        who: Reader,
        app: Data<&App>,
        order_id: Path<OrderId>,
        document_id: Path<DocumentId>,
        /// The language.
        language: Query<Option<Language>>,
    ) -> Result<Printed, Or<Usual>> {
        let order = readable(&app, &who, *order_id).await?;
        let (name, pdf) = printed(&app, *order_id, *document_id, language.unwrap_or(order.language)).await?;
        Ok(Printed::Pdf(Binary(pdf), name, "no-store".to_owned()))
    }

    /// List the documents of a festival
    ///
    /// Invoices and credit notes, newest first, by pages. Scope `orders:read`.
    #[oai(path = "/festivals/:festival_id/documents", method = "get", operation_id = "list_festival_documents")]
    async fn list_festival_documents(
        &self,
        AsStaff(staff): AsStaff,
        app: Data<&App>,
        festival_id: Path<FestivalId>,
        /// Where the page begins: `next` of the page before.
        cursor: Query<Option<String>>,
        /// How many, at most 200.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<Page<Document>>, Or<Usual>> {
        let before = before(cursor.as_deref())?;
        let mut tx = of_staff(&app, &staff, *festival_id, Scope::OrdersRead).await?;
        let limit = limit.min(MOST);
        Ok(Json(Page::cut(super::store::of_festival(&mut tx, *festival_id, before, limit + 1).await?, limit, |d| d.document_id.0)))
    }
}
