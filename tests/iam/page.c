#include <inttypes.h>
#include <string.h>

#include "call.h"

/* A marker is opaque to clients, and has characters that must be encoded in a form: it says after
 * which position to go on, and whether an empty page has just been sent in its stead. */
static const char marker_full[] = "AFTER/", marker_empty[] = "EMPTY/", marker_end[] = "+==";

static bool read_marker(const char *marker, const char *prefix, uint64_t *ret)
{
	char *end;

	if (strncmp(marker, prefix, strlen(prefix)) != 0)
		return false;
	*ret = strtoull(marker + strlen(prefix), &end, 10);
	return !strcmp(end, marker_end);
}

int page_begin(struct call *call, struct page *page)
{
	const struct settings *settings = &call->server->settings;
	const char *marker = form_get(call->form, "Marker");
	const char *max_items = form_get(call->form, "MaxItems");
	char *end = NULL;
	long size = max_items ? strtol(max_items, &end, 10) : PAGE_SIZE_DEFAULT;
	bool after_empty = false;

	*page = (struct page){0};
	if (max_items && (!*max_items || *end || size < 1 || size > PAGE_SIZE_MAX))
		return call_fail(call, FAIL_VALIDATION,
				 "1 validation error detected: Value '%s' at 'maxItems' failed to "
				 "satisfy constraint: Member must have value between 1 and %d",
				 max_items, PAGE_SIZE_MAX);
	if (marker && !read_marker(marker, marker_full, &page->after)) {
		after_empty = read_marker(marker, marker_empty, &page->after);
		if (!after_empty)
			return call_fail(call, FAIL_VALIDATION, "Invalid Marker.");
	}
	page->last = page->after;
	page->size = (size_t)size;
	if (settings->page_size > 0 && settings->page_size < page->size)
		page->size = settings->page_size;
	if (settings->empty_pages && !after_empty)
		page->size = 0;
	return 0;
}

bool page_takes(struct page *page, uint64_t position)
{
	if (position <= page->after)
		return false;
	if (page->n == page->size) {
		page->truncated = true;
		return false;
	}
	page->n++;
	page->last = position;
	return true;
}

void page_end(struct call *call, const struct page *page)
{
	xml_bool(&call->xml, "IsTruncated", page->truncated);
	if (!page->truncated)
		return;

	_cleanup_free_ char *marker =
		must_printf("%s%" PRIu64 "%s", page->size == 0 ? marker_empty : marker_full,
			    page->last, marker_end);

	xml_string(&call->xml, "Marker", marker);
}
