package dockerfile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestEntitlements(t *testing.T) {
	code := model.CodeEntitlementDenied
	for _, r := range []refusal{
		{name: "B56", text: "FROM debian\nRUN --security=insecure id\n", code: code, line: 2, says: []string{"--security=insecure"}},
		{name: "B57", text: "FROM debian\n\nRUN --network=host id\n", code: code, line: 3, says: []string{"--network=host"}},
		{name: "B58", text: "FROM debian\nRUN --device=vendor.com/x=y id\n", code: code, line: 2, says: []string{"--device"}},
		{name: "B57 on the line where RUN starts", text: "FROM debian\nRUN \\\n  --network=host \\\n  id\n", code: code, line: 2},
		{name: "B57 in a stage that is not built", text: "FROM debian\nRUN --network=host id\nFROM scratch\n", code: code, line: 2},
		{name: "B56 as a trigger", text: "FROM debian\nUSER 0\nONBUILD RUN --security=insecure id\n", code: code, line: 3},
		{name: "B57 as a trigger", text: "FROM debian\nONBUILD RUN --network=host id\n", code: code, line: 2},
		{name: "B58 as a trigger", text: "FROM debian\nONBUILD RUN --device=vendor.com/x=y id\n", code: code, line: 2},
		{name: "B57 with another escape", text: "# escape=`\nFROM debian\nRUN `\n --network=host id\n", code: code, line: 3},
		{name: "B57 with a heredoc", text: "FROM debian\nRUN --network=host <<EOF\nid\nEOF\n", code: code, line: 2},
		{name: "B57 in JSON form", text: "FROM debian\nRUN --network=host [\"id\"]\n", code: code, line: 2},
	} {
		t.Run(r.name, r.run)
	}
}

func TestSecretsAndAgents(t *testing.T) {
	needs := "FROM debian\nRUN --mount=type=secret,id=npm,required true\n"
	for _, r := range []refusal{
		{name: "B59", text: needs, code: model.CodeSecretMissing, line: 2, field: "secret", says: []string{`"npm"`, "secret"}},
		{name: "B59 another one came", text: needs, opts: Options{SecretIDs: []string{"pip"}}, code: model.CodeSecretMissing, line: 2, field: "secret"},
		{name: "B59 required=true", text: "FROM debian\nRUN --mount=type=secret,id=a,required=true true\n", code: model.CodeSecretMissing, line: 2, field: "secret"},
		{name: "B59 by source", text: "FROM debian\nRUN --mount=type=secret,source=a,required true\n", code: model.CodeSecretMissing, line: 2, field: "secret", says: []string{`"a"`}},
		{name: "B59 by target", text: "FROM debian\nRUN --mount=type=secret,target=/run/tok,required true\n", code: model.CodeSecretMissing, line: 2, field: "secret", says: []string{`"tok"`}},
		{name: "B59 by variable", text: "FROM debian\nARG ID=npm\nRUN --mount=type=secret,id=$ID,required true\n", code: model.CodeSecretMissing, line: 3, field: "secret", says: []string{`"npm"`}},
		{name: "B59 in a stage that is needed", text: needs + "FROM scratch\nCOPY --from=0 /a /b\n", code: model.CodeSecretMissing, line: 2, field: "secret"},
		{name: "B59 through two stages", text: "FROM debian AS a\nRUN --mount=type=secret,id=npm,required true\nFROM a AS b\nFROM debian\nRUN --mount=from=B,target=/b true\n", code: model.CodeSecretMissing, line: 2, field: "secret"},
		{name: "B59 by an inherited trigger", text: "FROM debian AS a\nONBUILD RUN --mount=type=secret,id=npm,required true\nFROM a\n", code: model.CodeSecretMissing, line: 3, field: "secret"},
		{name: "B60", text: "FROM debian\nRUN --mount=type=ssh true\n", code: model.CodeSSHNotAvailable, line: 2, says: []string{"agent"}},
		{name: "B60 required", text: "FROM debian\nRUN --mount=type=ssh,required,id=x true\n", code: model.CodeSSHNotAvailable, line: 2},
		{name: "B60 ADD over ssh", text: "FROM debian\nADD git@example.com:a/b.git /x\n", code: model.CodeSSHNotAvailable, line: 2, says: []string{"https"}},
		{name: "B60 ADD ssh URL", text: "FROM debian\nADD ssh://git@example.com/a/b.git /x\n", code: model.CodeSSHNotAvailable, line: 2},
	} {
		t.Run(r.name, r.run)
	}
	for _, c := range []struct {
		name, text string
		opts       Options
	}{
		{"B59 control: it came", needs, Options{SecretIDs: []string{"pip", "npm"}}},
		{"B59 control: not required", "FROM debian\nRUN --mount=type=secret,id=npm true\n", Options{}},
		{"B59 control: required=false", "FROM debian\nRUN --mount=type=secret,id=npm,required=false true\n", Options{}},
		{"B59 control: stage not needed", needs + "FROM scratch\n", Options{}},
		{"B59 control: other target", "FROM debian AS a\nFROM a AS b\nRUN --mount=type=secret,id=npm,required true\n", Options{Target: "a"}},
		{"B59 control: trigger of the image", "FROM debian\nONBUILD RUN --mount=type=secret,id=npm,required true\n", Options{}},
		{"B60 control: stage not needed", "FROM debian\nRUN --mount=type=ssh true\nFROM scratch\n", Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Check(t.Context(), []byte(c.text), c.opts)
			require.NoError(t, err)
		})
	}
}
