package main

import "regexp"

// No JSON schema of these two kinds of document was found: that of AWS's language service is for
// Automation documents, schema version 0.3. So these are the tables of docs.aws.amazon.com, from
// stored copies of its pages, some of which are older than the page of today. What the files of
// docs/ do not use is left out, so the rules can be stricter than AWS is.

// commandDocument is a Command document of Systems Manager. systems-manager/latest/userguide:
// documents-syntax-data-elements-parameters.html, documents-schemas-features.html,
// documents-command-ssm-plugin-reference.html#aws-runShellScript.
var commandDocument = all(references(false), object(fields{
	"schemaVersion!": oneOf("2.2"),
	"description":    text,
	"parameters": named(regexp.MustCompile(`^\w+$`), all(hasDefault, object(fields{
		"type!":             oneOf("String", "StringList"), // no others in a Command document
		"description":       text,
		"default":           text,
		"allowedValues":     list(text),
		"allowedPattern":    pattern,
		"displayType":       oneOf("textfield", "textarea"),
		"minItems":          integer,
		"maxItems":          integer,
		"minChars":          integer,
		"maxChars":          integer,
		"interpolationType": oneOf("ENV_VAR"),
	}))),
	"mainSteps!": steps(map[string]rule{
		"aws:runShellScript": object(fields{
			"runCommand!":      list(text),
			"timeoutSeconds":   text, // "Type: String"
			"workingDirectory": text,
		}),
	}, fields{
		"precondition": object(fields{
			"StringEquals!": list(oneOf("platformType", "Linux", "MacOS", "Windows")),
		}),
	}),
}))

// component is a component document of Image Builder. imagebuilder/latest/userguide:
// toe-use-documents.html#document-schema, toe-user-defined-variables.html, toe-action-modules.html.
var component = all(references(true), object(fields{
	"name":           text,
	"description":    text,
	"schemaVersion!": version("1.0"),
	"parameters": list(named(regexp.MustCompile(`^[a-zA-Z0-9_-]{3,128}$`), object(fields{
		"type!":       oneOf("string"),
		"default":     text,
		"description": text,
	}))),
	"phases!": unique("name", object(fields{
		"name!": oneOf("build", "validate", "test", "container-host-test"),
		"steps!": steps(map[string]rule{
			"ExecuteBash": object(fields{"commands!": list(text)}),
			"S3Download": list(object(fields{
				"source!":             text,
				"destination!":        text,
				"expectedBucketOwner": text,
				"overwrite":           boolean,
			})),
		}, fields{
			"timeoutSeconds": integer,
			"onFailure":      oneOf("Abort", "Continue", "Ignore"),
			"maxAttempts":    integer,
		}),
	})),
}))
