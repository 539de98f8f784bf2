#include "xml.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static void indent(struct xml *xml)
{
	text_printf(&xml->text, "%*s", (int)(2 * xml->depth), "");
}

static void add_escaped(struct text *text, const char *value)
{
	for (; *value; value++)
		switch (*value) {
		case '<':
			text_add(text, "&lt;");
			break;
		case '>':
			text_add(text, "&gt;");
			break;
		case '&':
			text_add(text, "&amp;");
			break;
		case '"':
			text_add(text, "&quot;");
			break;
		default:
			text_add_bytes(text, value, 1);
		}
}

void xml_open_ns(struct xml *xml, const char *name, const char *ns)
{
	assert(xml->depth < sizeof(xml->open) / sizeof(xml->open[0]));
	indent(xml);
	if (ns)
		text_printf(&xml->text, "<%s xmlns=\"%s\">\n", name, ns);
	else
		text_printf(&xml->text, "<%s>\n", name);
	xml->open[xml->depth++] = name;
}

void xml_open(struct xml *xml, const char *name)
{
	xml_open_ns(xml, name, NULL);
}

void xml_close(struct xml *xml)
{
	assert(xml->depth > 0);
	xml->depth--;
	indent(xml);
	text_printf(&xml->text, "</%s>\n", xml->open[xml->depth]);
}

void xml_empty(struct xml *xml, const char *name)
{
	indent(xml);
	text_printf(&xml->text, "<%s/>\n", name);
}

void xml_string(struct xml *xml, const char *name, const char *value)
{
	if (!value)
		return;
	indent(xml);
	text_printf(&xml->text, "<%s>", name);
	add_escaped(&xml->text, value);
	text_printf(&xml->text, "</%s>\n", name);
}

void xml_bool(struct xml *xml, const char *name, bool value)
{
	xml_string(xml, name, value ? "true" : "false");
}

void xml_number(struct xml *xml, const char *name, int64_t value)
{
	_cleanup_free_ char *digits = must_printf("%" PRId64, value);

	xml_string(xml, name, digits);
}

void xml_date(struct xml *xml, const char *name, int64_t wall_ms)
{
	char date[32];
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
	xml_string(xml, name, date);
}

void xml_clear(struct xml *xml)
{
	text_clear(&xml->text);
	*xml = (struct xml){0};
}
